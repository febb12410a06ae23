from io import StringIO

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from rich.console import Console

from equipot.config.md import MDConfig
from equipot.md import run_md
from equipot.units import GPA_PER_EV_PER_A3
from tests.md.soft_spheres import fluid

LOG = {"log": 5, "trajectory": 10**6, "checkpoint": 10**6}


def simulate(atoms, folder, **settings):
    """Log of a run as a table with named columns, and its summary."""
    config = MDConfig.model_validate(
        {
            "model": "none",
            "structure": {"file": "none"},
            "temperature": 300,
            "timestep": 5.0,
            "record": LOG,
            "alarms": {"min_distance": None},
            **settings,
        }
    )
    summary = run_md(atoms, config, folder, console=Console(file=StringIO()))
    return np.genfromtxt(folder / "log.csv", delimiter=",", names=True), summary


def test_energy_error_of_nve_is_quadratic_in_the_timestep(tmp_path):
    errors = []
    for timestep in (4.0, 8.0):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=1)
        atoms.calc = EMT()
        log, _ = simulate(
            atoms,
            tmp_path / str(timestep),
            ensemble={"name": "nve"},
            timestep=timestep,
            steps=round(1600 / timestep),
            record={**LOG, "log": 1},
        )
        errors.append(log["conserved_eV"].std())

    assert errors[1] / errors[0] == pytest.approx(4, rel=0.15)


THERMOSTATS = {
    "langevin": {"name": "langevin", "friction": 0.005},
    "bussi": {"name": "bussi"},
    "nose_hoover_chain": {"name": "nose_hoover_chain"},
    "npt": {"name": "npt", "taup": 500, "pressure": 1.0},
    "npt_full": {"name": "npt", "cell": "full", "taup": 500, "pressure": 1.0},
}


@pytest.mark.parametrize("name", THERMOSTATS)
def test_temperature_and_pressure_are_those_of_the_ensemble(name, tmp_path):
    """Mean T, variance 2 T^2 / f with f momenta; 3N for 3N - 3 would be 14 % off."""
    momenta = 24 if name == "langevin" else 21
    log, summary = simulate(
        fluid(), tmp_path, ensemble=THERMOSTATS[name], timestep=10.0, steps=3000
    )
    temperature, pressure = log["temperature_K"][60:], log["pressure_GPa"][60:]

    assert temperature.mean() == pytest.approx(300, rel=0.07)
    assert temperature.var() == pytest.approx(2 * 300**2 / momenta, rel=0.4)
    assert summary.mean_temperature_K == pytest.approx(log["temperature_K"].mean())
    if name.startswith("npt"):
        assert pressure.mean() == pytest.approx(1.0, rel=0.1)
        assert np.ptp(log["volume_A3"]) > 10
        assert summary.mean_volume_A3 == pytest.approx(log["volume_A3"].mean())


def test_weak_coupling_reaches_temperature_and_pressure(tmp_path):
    ensemble = {"name": "npt_berendsen", "pressure": 1.0, "compressibility": 0.2}
    log, _ = simulate(fluid(), tmp_path, ensemble=ensemble, timestep=10.0, steps=1500)

    assert log["temperature_K"][60:].mean() == pytest.approx(300, rel=0.07)
    assert log["pressure_GPa"][60:].mean() == pytest.approx(1.0, rel=0.1)


def test_full_barostat_changes_the_shape_and_isotropic_does_not(tmp_path):
    for name, same_shape in (("npt", True), ("npt_full", False)):
        atoms = fluid()
        shape = atoms.cell.array / atoms.get_volume() ** (1 / 3)

        simulate(atoms, tmp_path / name, ensemble=THERMOSTATS[name], steps=50)
        now = atoms.cell.array / atoms.get_volume() ** (1 / 3)

        assert np.allclose(now, shape, atol=1e-10) == same_shape


@pytest.mark.parametrize(
    "ensemble",
    [
        {"name": "nve"},
        THERMOSTATS["bussi"],
        THERMOSTATS["nose_hoover_chain"],
        THERMOSTATS["npt"],
        THERMOSTATS["npt_full"],
    ],
    ids=["nve", "bussi", "nose_hoover_chain", "npt", "npt_full"],
)
def test_conserved_quantity_is_conserved(ensemble, tmp_path):
    log, summary = simulate(
        fluid(), tmp_path, ensemble=ensemble, timestep=2.0, steps=500
    )
    conserved = log["conserved_eV"]

    assert np.ptp(conserved) < 2e-3
    assert abs(summary.drift_meV_per_atom_per_ns) < 100
    assert np.ptp(log["potential_energy_eV"]) > 0.05


def test_pressure_holds_the_kinetic_part(tmp_path):
    """Without interaction P V = 2/3 K."""
    atoms = fluid()
    atoms.calc.height = 0.0
    log, _ = simulate(atoms, tmp_path, ensemble={"name": "nve"}, steps=10)

    expected = 2 / 3 * log["kinetic_energy_eV"] / log["volume_A3"] * GPA_PER_EV_PER_A3
    np.testing.assert_allclose(log["pressure_GPa"], expected)


def test_seed_decides_the_run(tmp_path):
    logs = [
        simulate(
            fluid(),
            tmp_path / str(n),
            ensemble=THERMOSTATS["langevin"],
            steps=50,
            seed=seed,
        )[0]
        for n, seed in enumerate((1, 1, 2))
    ]

    first, second, third = (log["potential_energy_eV"] for log in logs)
    assert (first == second).all()
    assert first[-1] != third[-1]


def test_velocities_average_to_the_temperature():
    from equipot.md.thermodynamics import temperature
    from equipot.md.velocities import (
        degrees_of_freedom,
        draw_velocities,
        remove_drift,
    )

    rng = np.random.default_rng(0)
    atoms = fluid()
    found = []
    for _ in range(800):
        draw_velocities(atoms, 300.0, rng)
        remove_drift(atoms)
        found.append(temperature(atoms, degrees_of_freedom(atoms, drift_removed=True)))

    np.testing.assert_allclose(atoms.get_momenta().sum(0), 0, atol=1e-12)
    assert np.mean(found) == pytest.approx(300, rel=0.03)
