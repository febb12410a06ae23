"""Targets that change during a run, and restarts in the middle of it."""

import numpy as np
import pytest
from pydantic import ValidationError

from equipot.md.driver import Simulation
from equipot.md.ramp import describe_ramp, target_pressure, target_temperature
from tests.md.md_runs import ENSEMBLES, configuration, copper, run, run_quietly
from tests.md.soft_spheres import fluid
from tests.md.test_restart import _assert_same

RAMP = {"steps": 80, "start": 20, "temperature": 800.0}
THERMOSTATS = [name for name in ENSEMBLES if name != "nve"]


def ramp_of(ensemble):
    """Of the pressure as well, where there is one."""
    return {**RAMP, "pressure": 5.0} if ensemble.startswith("npt") else RAMP


def test_a_ramp_is_linear_and_then_stays():
    config = configuration("npt_isotropic", ramp=ramp_of("npt"))

    temperatures = [target_temperature(config, n) for n in (0, 20, 40, 100, 120)]
    pressures = [target_pressure(config, n) for n in (0, 20, 40, 100, 120)]

    assert temperatures == [400, 400, 500, 800, 800]
    np.testing.assert_allclose(pressures, [1, 1, 2, 5, 5])
    assert target_pressure(configuration("nve"), 3) is None
    assert describe_ramp(config) == "ramp: 400 to 800 K, 1 to 5 GPa from step 20 to 100"


@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_a_ramp_that_is_stopped_and_resumed_equals_one_that_is_not(ensemble, tmp_path):
    ramp = ramp_of(ensemble)
    run("copper", ensemble, tmp_path / "whole", ramp=ramp)
    run("copper", ensemble, tmp_path / "pieces", steps=60, ramp=ramp)
    run("copper", ensemble, tmp_path / "pieces", resume=True, ramp=ramp)

    _assert_same(tmp_path / "whole", tmp_path / "pieces")
    log = np.genfromtxt(tmp_path / "whole" / "log.csv", delimiter=",", names=True)
    assert log["target_temperature_K"][[0, -1]].tolist() == [400, 800]
    if "pressure" in ramp:
        assert log["target_pressure_GPa"][-1] == 5


@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_a_ramp_that_goes_nowhere_changes_nothing(ensemble, tmp_path):
    pressure = getattr(configuration(ensemble).ensemble, "pressure", None)
    ramp = {"steps": 50, "temperature": 400.0}
    if pressure is not None:
        ramp["pressure"] = pressure
    run("copper", ensemble, tmp_path / "plain")
    run("copper", ensemble, tmp_path / "ramp", ramp=ramp)

    logs = [
        np.genfromtxt(tmp_path / name / "log.csv", delimiter=",", names=True)
        for name in ("plain", "ramp")
    ]
    for column in ("potential_energy_eV", "temperature_K"):
        np.testing.assert_array_equal(logs[0][column], logs[1][column])


@pytest.mark.parametrize("ensemble", ["langevin", "bussi", "nose_hoover_chain"])
def test_the_temperature_follows_a_ramp(ensemble, tmp_path):
    run_quietly(
        fluid(),
        {**ENSEMBLES[ensemble], "taut": 50.0} if ensemble != "langevin" else "langevin",
        tmp_path,
        steps=500,
        timestep=8.0,
        temperature=100,
        ramp={"steps": 350, "temperature": 500},
        record={"log": 1, "trajectory": 500, "checkpoint": 500},
        alarms={"min_distance": None},
    )
    log = np.genfromtxt(tmp_path / "log.csv", delimiter=",", names=True)

    for first, last in ((60, 200), (350, 500)):
        part = slice(first, last)
        expected = log["target_temperature_K"][part].mean()
        assert log["temperature_K"][part].mean() == pytest.approx(expected, rel=0.25)


def test_a_ramp_does_work_on_chains_and_not_on_the_heat_that_bussi_counts(tmp_path):
    for ensemble, conserved in (("nose_hoover_chain", False), ("bussi", True)):
        summary = run_quietly(
            copper(), ensemble, tmp_path / ensemble, ramp=RAMP, steps=250
        )
        log = np.genfromtxt(tmp_path / ensemble / "log.csv", delimiter=",", names=True)
        assert np.isfinite(log["conserved_eV"]).all() == conserved
        assert (summary.drift_meV_per_atom_per_ns is not None) == conserved
    assert np.ptp(log["conserved_eV"]) < 0.02


@pytest.mark.parametrize(
    ("ensemble", "changes", "message"),
    [
        ("nve", {"ramp": RAMP}, "nve has none"),
        ("bussi", {"ramp": {**RAMP, "pressure": 1.0}}, "needs a barostat"),
        (
            "npt_full",
            {"ramp": RAMP, "alarms": {"max_drift": 1.0}},
            "but a ramp changes",
        ),
        ("bussi", {"ramp": {"steps": 5}}, "ramp.temperature or ramp.pressure"),
        ("bussi", {"ramp": {"temperature": 5.0}}, "steps"),
    ],
)
def test_ramps_that_nothing_can_follow_are_refused(ensemble, changes, message):
    with pytest.raises(ValidationError, match=message):
        configuration(ensemble, **changes)


def test_a_ramp_cannot_change_when_a_run_is_resumed(tmp_path):
    run("copper", "bussi", tmp_path, ramp=RAMP, steps=40)

    with pytest.raises(ValueError, match="ramp was "):
        run("copper", "bussi", tmp_path, resume=True, ramp={**RAMP, "steps": 100})


def test_fixed_atoms_cannot_change_when_a_run_is_resumed(tmp_path):
    from ase.constraints import FixAtoms

    atoms = copper()
    atoms.set_constraint(FixAtoms([0]))
    run_quietly(atoms, "nve", tmp_path, steps=40)

    with pytest.raises(ValueError, match="fixed of the structure differ"):
        Simulation(copper(), configuration("nve"), tmp_path, "").begin(resume=True)


@pytest.mark.parametrize("ensemble", ["nve", "langevin", "bussi", "nose_hoover_chain"])
def test_runs_with_fixed_atoms_resume_bit_for_bit(ensemble, tmp_path):
    from io import StringIO

    from ase.constraints import FixAtoms
    from rich.console import Console

    from equipot.md import run_md

    def fixed():
        atoms = copper()
        atoms.set_constraint(FixAtoms([1]))
        return atoms

    run_quietly(fixed(), ensemble, tmp_path / "whole")
    run_quietly(fixed(), ensemble, tmp_path / "pieces", steps=60)
    run_md(
        fixed(),
        configuration(ensemble),
        tmp_path / "pieces",
        resume=True,
        console=Console(file=StringIO()),
    )

    _assert_same(tmp_path / "whole", tmp_path / "pieces")
