import json
import pickle
from io import StringIO

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.constraints import FixBondLength
from ase.io import read, write
from pydantic import ValidationError
from rich.console import Console

from equipot.config.md import MDConfig, StructureConfig, VelocitiesConfig
from equipot.md import read_structure, run_md
from equipot.md.build import start_velocities
from equipot.md.progress import Progress
from equipot.md.thermodynamics import Thermodynamics
from equipot.md.velocities import degrees_of_freedom, draw_velocities, remove_drift
from tests.md.md_runs import configuration, copper, run_quietly


def _table(folder):
    return np.genfromtxt(folder / "log.csv", delimiter=",", names=True)


def test_log_and_trajectory_tell_the_same_story(tmp_path):
    record = {"log": 2, "trajectory": 4, "checkpoint": 9, "format": "traj"}
    atoms = copper()
    run_quietly(atoms, "npt_isotropic", tmp_path, steps=20, record=record)
    log, frames = _table(tmp_path), read(tmp_path / "trajectory.traj", ":")

    np.testing.assert_array_equal(log["step"], np.arange(0, 21, 2))
    np.testing.assert_allclose(log["time_ps"], log["step"] * 0.004)
    assert [frame.info["step"] for frame in frames] == [0, 4, 8, 12, 16, 20]
    for frame, row in zip(frames, log[::2], strict=True):
        assert frame.get_potential_energy() == row["potential_energy_eV"]
        assert frame.get_volume() == row["volume_A3"]
        assert frame.get_kinetic_energy() == row["kinetic_energy_eV"]
        frame.calc, expected = EMT(), frame.get_forces()
        np.testing.assert_allclose(frame.get_forces(), expected, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(frames[-1].positions, atoms.positions)


def test_molecule_has_no_pressure_and_does_not_turn(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = EMT()
    run_quietly(atoms, "nve", tmp_path, steps=20, timestep=0.2, alarms={})
    log = _table(tmp_path)

    assert np.isnan(log["pressure_GPa"]).all()
    assert np.isnan(log["volume_A3"]).all()
    np.testing.assert_allclose(atoms.get_momenta().sum(0), 0, atol=1e-10)
    np.testing.assert_allclose(atoms.get_angular_momentum(), 0, atol=1e-10)
    expected = 2 * log["kinetic_energy_eV"] / (3 * 8.617330337217213e-05)
    np.testing.assert_allclose(log["temperature_K"], expected)


def test_summary_and_configuration_are_written(tmp_path):
    summary = run_quietly(copper(), "nve", tmp_path, steps=30)
    stored = json.loads((tmp_path / "summary.json").read_text())

    assert stored["steps"] == 30
    assert stored["stopped"] is None
    assert stored["mean_temperature_K"] == summary.mean_temperature_K
    assert summary.ns_per_day == pytest.approx(
        summary.steps_per_second * 4.0 * 86400 / 1e6
    )
    assert "timestep: 4.0" in (tmp_path / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "momenta"), [("H2O", 3), ("CO2", 3), ("H2", 1), ("H", 0)]
)
def test_conserved_momenta_carry_no_heat(name, momenta):
    assert degrees_of_freedom(molecule(name), drift_removed=True) == momenta


def test_linear_molecule_can_be_brought_to_rest():
    atoms = molecule("CO2")
    draw_velocities(atoms, 300.0, np.random.default_rng(0))

    remove_drift(atoms)

    np.testing.assert_allclose(atoms.get_momenta().sum(0), 0, atol=1e-12)
    np.testing.assert_allclose(atoms.get_angular_momentum(), 0, atol=1e-12)
    assert atoms.get_kinetic_energy() > 0


def test_velocities_of_the_file_are_used():
    atoms = molecule("H2O")
    config = VelocitiesConfig(source="file", remove_drift=False)
    momenta = np.random.default_rng(0).normal(size=(3, 3))
    atoms.set_momenta(momenta)

    start_velocities(atoms, config, 300.0, np.random.default_rng(0))

    np.testing.assert_array_equal(atoms.get_momenta(), momenta)


def test_velocities_that_the_file_lacks_are_an_error():
    with pytest.raises(ValueError, match="has no momenta; set it to maxwell_boltzmann"):
        start_velocities(
            molecule("H2O"),
            VelocitiesConfig(source="file"),
            300.0,
            np.random.default_rng(0),
        )


@pytest.mark.parametrize("ensemble", ["bussi", "npt_berendsen"])
def test_thermostats_that_rescale_need_motion(ensemble, tmp_path):
    with pytest.raises(ValueError, match="all atoms are at rest"):
        run_quietly(copper(), ensemble, tmp_path, velocities={"temperature": 0})


@pytest.mark.parametrize("ensemble", ["npt_isotropic", "npt_full", "npt_berendsen"])
def test_barostats_need_a_volume(ensemble, tmp_path):
    atoms = copper()
    atoms.pbc = [True, True, False]

    with pytest.raises(ValueError, match="needs a 3D-periodic structure"):
        run_quietly(atoms, ensemble, tmp_path)


def test_other_constraints_than_fixed_atoms_are_refused(tmp_path):
    atoms = copper()
    atoms.set_constraint(FixBondLength(0, 1))

    with pytest.raises(ValueError, match="other than fixed atoms are not supported"):
        run_quietly(atoms, "nve", tmp_path)


def test_drift_alarm_needs_a_conserved_quantity():
    with pytest.raises(ValidationError, match="langevin has none"):
        configuration("langevin", alarms={"max_drift": 1.0})


def test_unknown_ensembles_are_refused():
    with pytest.raises(ValidationError, match="npt_berendsen"):
        MDConfig.model_validate(
            {
                "model": "m",
                "structure": {"file": "f"},
                "ensemble": {"name": "nvt"},
                "steps": 1,
            }
        )


@pytest.fixture
def structures(tmp_path):
    path = tmp_path / "start.xyz"
    slab = Atoms("Cu", cell=[2, 2, 9], pbc=[True, True, False])
    write(path, [molecule("H2O"), slab], format="extxyz")
    return path


def test_structure_is_replicated(structures):
    config = StructureConfig(file=structures, index=1, replicate=(2, 3, 1))

    assert len(read_structure(config)) == 6


def test_labels_of_the_structure_file_do_not_travel_with_the_atoms(tmp_path):
    path = tmp_path / "labeled.xyz"
    atoms = molecule("H2O")
    atoms.info["REF_energy"] = -3.0
    atoms.arrays["REF_forces"] = np.ones((3, 3))
    atoms.set_momenta(np.full((3, 3), 2.0))
    write(path, atoms, format="extxyz")

    start = read_structure(StructureConfig(file=path))

    assert start.info == {}
    assert set(start.arrays) == {"numbers", "positions", "momenta"}
    np.testing.assert_array_equal(start.get_momenta(), atoms.get_momenta())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"index": 2}, "has no frame 2; choose another"),
        ({"replicate": (1, 1, 2)}, "lattice direction c .* is not periodic"),
    ],
)
def test_impossible_structures_are_refused(structures, settings, message):
    with pytest.raises(ValueError, match=message):
        read_structure(StructureConfig(file=structures, **settings))


def test_missing_structure_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no such file: .*none\.xyz"):
        read_structure(StructureConfig(file=tmp_path / "none.xyz"))


def test_files_that_are_no_structures_or_could_run_code_are_refused(tmp_path):
    (tmp_path / "table.csv").write_text("step,energy\n1,2\n")
    (tmp_path / "old.traj").write_bytes(pickle.dumps([1]))

    for name, message in (
        ("table.csv", "convert it"),
        ("old.traj", "execute any code"),
    ):
        with pytest.raises(ValueError, match=message):
            read_structure(StructureConfig(file=tmp_path / name))


def test_structure_that_is_not_finite_is_refused(tmp_path):
    path = tmp_path / "nan.xyz"
    path.write_text("1\nProperties=species:S:1:pos:R:3\nH 0.0 nan 0.0\n")

    with pytest.raises(ValueError, match="not finite"):
        read_structure(StructureConfig(file=path))


ROW = Thermodynamics(50, 0.05, -3.0, 1.0, 310.0, -2.0, 0.1, 47.0)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_speed_and_remaining_time(terminal, monkeypatch):
    clock = iter([0.0, 0.0, 100.0, 100.0, 100.0])
    monkeypatch.setattr("equipot.md.progress.time.monotonic", lambda: next(clock))
    screen = StringIO()
    console = Console(file=screen, force_terminal=terminal, width=200)

    with Progress(console, 0, 150, 1.0) as progress:
        progress.update(ROW)

    text = screen.getvalue()
    assert "step 50/150  0.050 ps  T 310.0 K" in text
    assert "0.5 steps/s" in text
    assert "0:03:20 left" in text


def test_atoms_without_a_calculator_are_refused(tmp_path):
    atoms = copper()
    atoms.calc = None

    with pytest.raises(ValueError, match=r"need a calculator: set atoms\.calc"):
        run_md(atoms, configuration("nve"), tmp_path)


def test_progress_outside_of_a_terminal_is_plain_lines(tmp_path):
    screen = StringIO()
    atoms = copper()

    run_md(
        atoms, configuration("nve", steps=10), tmp_path, console=Console(file=screen)
    )

    assert "\x1b" not in screen.getvalue()
    assert "ensemble     nve" in screen.getvalue()
