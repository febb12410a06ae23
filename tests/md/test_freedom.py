"""Which momenta carry heat, and whether thermostats hold the temperature of these."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.io import read
from ase.units import kB

from equipot.md.velocities import (
    conserved_momenta,
    degrees_of_freedom,
    draw_velocities,
    drift_energy,
    remove_drift,
)
from tests.md.md_runs import run_quietly
from tests.md.soft_spheres import fluid

WIRE = Atoms("Cu3", [[0, 0, 0], [1, 0, 1], [0, 1, 2]], cell=[0, 0, 3], pbc=[0, 0, 1])
SLAB = Atoms("Cu2", [[0, 0, 0], [1, 0, 1]], cell=[4, 4, 0], pbc=[1, 1, 0])
LINE = [[0, 0, 0], [0, 0, 1.2], [0, 0, -1.2]]
BENT = [[0, 0, 0], [0, 0.9, 0.8], [0, -0.9, 0.8]]


class Springs(Calculator):
    """Harmonic bonds between all pairs, of the lengths that they have at first."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, positions) -> None:
        super().__init__()
        positions = np.array(positions, dtype=float)
        self.lengths = np.linalg.norm(positions[:, None] - positions, axis=2)

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        vectors = atoms.positions[:, None] - atoms.positions
        lengths = np.linalg.norm(vectors, axis=2)
        stretch = lengths - self.lengths
        with np.errstate(invalid="ignore"):
            directions = np.nan_to_num(vectors / lengths[..., None])
        self.results = {
            "energy": (energy := float(0.25 * 20 * (stretch**2).sum())),
            "free_energy": energy,
            "forces": -20 * (stretch[..., None] * directions).sum(axis=1),
        }


def springs(symbols, positions, **settings):
    atoms = Atoms(symbols, positions, **settings)
    atoms.calc = Springs(positions)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "fixed", "conserved"),
    [
        (molecule("H"), [], 3),
        (molecule("H2"), [], 5),
        (molecule("CO2"), [], 6),
        (molecule("H2O"), [], 6),
        (molecule("CH4"), [0], 3),
        (molecule("CH4"), [1, 2], 1),
        (molecule("CH4"), [1, 2, 3], 0),
        (bulk("Cu", cubic=True), [], 3),
        (bulk("Cu", cubic=True), [2], 0),
        (WIRE, [], 4),
        (SLAB, [], 3),
        (SLAB, [0], 0),
    ],
)
def test_symmetries_conserve_momenta(atoms, fixed, conserved):
    """Translations, and rotations that leave lattice and fixed atoms in place."""
    atoms.set_constraint(FixAtoms(fixed))
    count = 3 * (len(atoms) - len(fixed))

    assert conserved_momenta(atoms) == conserved
    assert degrees_of_freedom(atoms, drift_removed=True) == count - conserved
    assert degrees_of_freedom(atoms, drift_removed=False) == count


@pytest.mark.parametrize("fixed", [[], [0], [1, 2]])
def test_drift_is_removed_once_and_fixed_atoms_rest(fixed):
    atoms = molecule("CH4")
    atoms.set_constraint(FixAtoms(fixed))
    rng = np.random.default_rng(0)
    energies = []
    for _ in range(400):
        draw_velocities(atoms, 300.0, rng)
        remove_drift(atoms)
        energies.append(atoms.get_kinetic_energy())
        assert drift_energy(atoms) < 1e-12
        assert not atoms.get_momenta()[fixed].any()

    count = degrees_of_freedom(atoms, drift_removed=True)
    assert np.mean(energies) == pytest.approx(count / 2 * kB * 300, rel=0.06)


def test_the_energy_of_a_drift_is_that_of_flight_and_rotation():
    atoms = molecule("H2O")
    masses = atoms.get_masses()
    spin = np.array([0.1, -0.2, 0.3])
    center = atoms.get_center_of_mass()
    flight = np.array([1.0, 2, 3])
    atoms.set_velocities(np.cross(spin, atoms.positions - center) + flight)

    assert drift_energy(atoms) == pytest.approx(atoms.get_kinetic_energy())
    translation = masses.sum() * 14 / 2
    arms = atoms.positions - center
    rotation = 0.5 * (masses * (np.cross(spin, arms) ** 2).sum(axis=1)).sum()
    assert drift_energy(atoms) == pytest.approx(translation + rotation)


def at_rest_as_a_whole(atoms, temperature):
    """Momenta as of a file whose total momentum is zero."""
    draw_velocities(atoms, temperature, np.random.default_rng(4))
    remove_drift(atoms)
    return atoms


CASES = {
    "crystal": (fluid, 21),
    "fixed": (lambda: _with_fixed(fluid(), [0, 3, 5]), 15),
    "one moves": (lambda: _with_fixed(fluid(), range(1, 8)), 3),
    "two atoms": (lambda: springs("N2", [[0, 0, 0], [0, 0, 1.1]]), 1),
    "bent": (lambda: springs("OH2", BENT), 3),
    "linear": (lambda: springs("CO2", LINE), 3),
}


def _with_fixed(atoms, indices):
    atoms.set_constraint(FixAtoms(list(indices)))
    return atoms


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ensemble", ["bussi", "nose_hoover_chain"])
def test_thermostats_hold_the_temperature_of_what_moves(case, ensemble, tmp_path):
    """From a file without drift, of which nothing is removed."""
    make, count = CASES[case]
    atoms = at_rest_as_a_whole(make(), 200.0)
    start = atoms.positions.copy()
    timestep = 10.0 if case in ("crystal", "fixed", "one moves") else 1.0

    run_quietly(
        atoms,
        {"name": ensemble, "taut": 10 * timestep},
        tmp_path,
        steps=600 if count > 6 else 60,
        timestep=timestep,
        temperature=200,
        velocities={"source": "file", "remove_drift": False},
        record={"log": 1, "trajectory": 600, "checkpoint": 600},
        alarms={"min_distance": None},
    )

    log = np.genfromtxt(tmp_path / "log.csv", delimiter=",", names=True)
    heat = 2 * log["kinetic_energy_eV"] / (count * kB)
    # the energy of a drift that is there is another matter
    np.testing.assert_allclose(heat, log["temperature_K"], rtol=1e-6)
    if count > 6:  # few harmonic modes take long
        assert heat[100:].mean() == pytest.approx(200, rel=0.13)
    fixed = ~np.isin(np.arange(len(atoms)), _free(atoms))
    np.testing.assert_array_equal(atoms.positions[fixed], start[fixed])
    assert (atoms.positions[~fixed] != start[~fixed]).all()


def _free(atoms):
    fixed = [i for c in atoms.constraints for i in c.index]
    return np.setdiff1d(np.arange(len(atoms)), fixed)


def test_langevin_heats_all_atoms_that_move(tmp_path):
    atoms = _with_fixed(fluid(), [0, 3, 5])

    run_quietly(
        atoms,
        "langevin",
        tmp_path,
        steps=700,
        timestep=10.0,
        temperature=200,
        record={"log": 5, "trajectory": 700, "checkpoint": 700},
        alarms={"min_distance": None},
    )

    log = np.genfromtxt(tmp_path / "log.csv", delimiter=",", names=True)
    heat = 2 * log["kinetic_energy_eV"] / (15 * kB)
    np.testing.assert_allclose(heat, log["temperature_K"])
    assert heat[30:].mean() == pytest.approx(200, rel=0.2)


@pytest.mark.parametrize("make", [fluid, lambda: springs("OH2", BENT)])
def test_a_drift_is_no_heat_at_constant_energy(make, tmp_path):
    """The same internal motion with and without a drift: the same temperature."""
    logs = []
    for drift in (0.0, 0.05):
        atoms = at_rest_as_a_whole(make(), 100.0)
        atoms.set_velocities(atoms.get_velocities() + np.array([drift, 0, 2 * drift]))
        run_quietly(
            atoms,
            "nve",
            tmp_path / str(drift),
            steps=30,
            timestep=0.5,
            velocities={"source": "file", "remove_drift": False},
            alarms={"min_distance": None},
        )
        path = tmp_path / str(drift) / "log.csv"
        logs.append(np.genfromtxt(path, delimiter=",", names=True))

    still, flying = logs
    assert flying["kinetic_energy_eV"][0] > 1.5 * still["kinetic_energy_eV"][0]
    for column in ("temperature_K", "pressure_GPa"):
        np.testing.assert_allclose(flying[column], still[column], rtol=1e-5)


@pytest.mark.parametrize(
    "ensemble", ["bussi", "nose_hoover_chain", "npt_isotropic", "npt_berendsen"]
)
def test_thermostats_that_would_scale_a_drift_refuse_it(ensemble, tmp_path):
    with pytest.raises(
        ValueError, match=r"translation or rotation of the structure as a wh"
    ):
        run_quietly(
            fluid(), ensemble, tmp_path, velocities={"remove_drift": False}, steps=2
        )


@pytest.mark.parametrize("ensemble", ["nve", "bussi", "nose_hoover_chain"])
def test_one_atom_has_nothing_but_drift(ensemble, tmp_path):
    atoms = fluid(1)

    with pytest.raises(
        ValueError, match=r"no thermal degrees of freedom in .*: only the structure"
    ):
        run_quietly(atoms, ensemble, tmp_path, velocities={"remove_drift": False})


def test_one_atom_diffuses_with_langevin(tmp_path):
    summary = run_quietly(fluid(1), "langevin", tmp_path, steps=20)

    assert summary.mean_temperature_K > 0


@pytest.mark.parametrize("ensemble", ["npt_isotropic", "npt_full", "npt_berendsen"])
def test_cells_that_change_and_fixed_atoms_exclude_each_other(ensemble, tmp_path):
    atoms = _with_fixed(fluid(), [0])

    with pytest.raises(ValueError, match="changes the cell, which would move fixed"):
        run_quietly(atoms, ensemble, tmp_path)


def test_rounding_does_not_grow_into_rotation(tmp_path):
    """A thermostat that scales velocities scales what rounding leaves of the spin."""
    atoms = springs("CO2", LINE)

    run_quietly(
        atoms,
        {"name": "bussi", "taut": 0.2},
        tmp_path,
        steps=1200,
        timestep=1.0,
        temperature=300,
        record={"log": 1000, "trajectory": 1200, "checkpoint": 1200},
        alarms={"min_distance": None, "max_energy_jump": None, "max_temperature": None},
    )

    assert drift_energy(atoms) < 1e-12 * kB * 300


@pytest.mark.parametrize("form", ["traj", "extxyz"])
def test_frames_have_the_forces_of_fixed_atoms_and_say_that_they_are_fixed(
    form, tmp_path
):
    atoms = _with_fixed(fluid(), [2, 5])
    record = {"log": 2, "trajectory": 2, "checkpoint": 4, "format": form}

    run_quietly(atoms, "nve", tmp_path, steps=4, record=record)

    for frame in read(tmp_path / f"trajectory.{form}", ":"):
        assert sorted(frame.constraints[0].index) == [2, 5]
        forces = frame.get_forces(apply_constraint=False)
        assert (np.abs(forces[[2, 5]]) > 1e-3).any()
        assert not frame.get_momenta()[[2, 5]].any()
