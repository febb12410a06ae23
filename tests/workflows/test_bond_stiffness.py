"""Bonds of nature pass, those of wrong units do not, whatever the masses."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from equipot.workflows import vibrations
from equipot.workflows.bond_stiffness import EV_PER_MDYN, bonds
from tests.workflows.analytic_potentials import (
    morse,
    nearest_images,
    stillinger_weber_silicon,
    valence,
)

DIATOMICS = {
    "HH": (0.7414, 5.75), "HF": (0.9168, 9.66), "HCl": (1.2746, 5.16),
    "HBr": (1.4144, 4.12), "HI": (1.6092, 3.14), "LiH": (1.5957, 1.03),
    "OH": (0.9697, 7.80), "CO": (1.1283, 19.02), "NN": (1.0977, 22.95),
    "NO": (1.1508, 15.95), "OO": (1.2075, 11.77), "FF": (1.4119, 4.70),
    "ClCl": (1.9878, 3.23), "SiO": (1.5097, 9.24), "PN": (1.4909, 10.2),
    "SS": (1.8892, 4.96), "BF": (1.2626, 8.07), "NaCl": (2.3608, 1.09),
}  # fmt: skip
"""Lengths in Å and force constants in mdyn/Å: Huber and Herzberg (1979)."""

KCAL, KJ = 23.0605, 96.4853
"""Of one eV."""


def diatomic(name, factor=1.0, masses=None):
    length, constant = DIATOMICS[name]
    atoms = Atoms(name, [(0, 0, 0), (0.6 * length, 0, 0.8 * length)], masses=masses)
    depth, width = 5.0, np.sqrt(factor * constant * EV_PER_MDYN / 10)
    atoms.calc = morse(depth, width, length)
    return atoms


@pytest.mark.parametrize("name", DIATOMICS)
def test_bonds_of_nature_pass(name):
    atoms = diatomic(name)
    matrix = atoms.calc.hessian(atoms).reshape(6, 6)

    (bond,) = bonds(atoms, matrix)
    assert bond.stiffness == pytest.approx(DIATOMICS[name][1])
    found = vibrations(atoms, atoms.calc.hessian)
    assert bond.stretch == pytest.approx(found.frequencies[-1])


@pytest.mark.parametrize("masses", [None, [3.016, 3.016], [238.0, 238.0]])
@pytest.mark.parametrize("factor", [KCAL, KJ])
@pytest.mark.parametrize("name", sorted(set(DIATOMICS) - {"LiH", "NaCl"}))
def test_wrong_units_of_energy_are_refused_whatever_the_masses(name, factor, masses):
    atoms = diatomic(name, factor, masses)

    with pytest.raises(ValueError, match="is stiffer than any known bond"):
        vibrations(atoms, atoms.calc.hessian)


@pytest.mark.parametrize("name", ["HH", "HF", "HCl", "OH", "NN", "CO", "NO"])
def test_forces_twice_as_large_are_refused(name):
    atoms = diatomic(name, 2.0)

    with pytest.raises(ValueError, match="forces were twice as large as they are"):
        vibrations(atoms, atoms.calc.hessian)


def water(factor):
    x, y = 0.97 * np.sin(np.radians(52)), 0.97 * np.cos(np.radians(52))
    atoms = Atoms("OHH", [(0, 0, 0), (x, y, 0), (-x, y, 0)])
    springs = {(0, 1): (52.0 * factor, 0.97), (0, 2): (52.0 * factor, 0.97)}
    cosine = float(np.cos(np.radians(104)))
    atoms.calc = valence(springs, {(1, 0, 2): (4.0 * factor, cosine)})
    return atoms


def test_the_units_that_are_probably_wrong_are_named():
    for factor, name in ((KCAL, "kcal/mol"), (KJ, "kJ/mol")):
        atoms = water(factor)
        with pytest.raises(ValueError, match=f"O-H bond of atoms 0 and .*{name}"):
            vibrations(atoms, atoms.calc.hessian)


def test_a_little_away_from_the_minimum_units_are_judged_too():
    atoms = water(KCAL)
    atoms.positions[1] += (0.01, 0, 0)

    with pytest.raises(ValueError, match="is stiffer than any known bond"):
        vibrations(atoms, atoms.calc.hessian)


def test_a_compressed_bond_is_not_taken_for_wrong_units():
    atoms = diatomic("OH")
    atoms.positions *= 0.7

    with pytest.warns(UserWarning, match="not a stationary point"):
        assert vibrations(atoms, atoms.calc.hessian).frequencies[-1] > 6000


def test_bonds_softer_than_any_are_remarked_upon():
    atoms = water(1 / 27.2114)

    (remark,) = vibrations(atoms, atoms.calc.hessian).remarks

    assert "in Hartree instead of eV" in remark
    assert vibrations(water(1.0), water(1.0).calc.hessian).remarks == ()


def test_images_of_one_bond_count_once():
    """In a cell of two atoms one block holds the second derivatives of four bonds."""
    cells = []
    for size in (1, 3):
        silicon = bulk("Si", "diamond", a=5.431) * size
        silicon.calc = stillinger_weber_silicon()
        n = 3 * len(silicon)
        matrix = silicon.calc.hessian(silicon).reshape(n, n)
        cells.append(bonds(silicon, matrix)[0].stiffness)
    assert cells[0] == pytest.approx(cells[1], rel=0.4)

    chain = Atoms("CC", [(0, 0, 0), (1.5, 0, 0)], cell=[3, 20, 20], pbc=True)
    chain.calc = nearest_images(lambda r: 14.0 * (r - 1.5) ** 2, 2.0)
    (bond,) = bonds(chain, chain.calc.hessian(chain).reshape(6, 6))
    assert bond.stiffness == pytest.approx(28.0 / EV_PER_MDYN)
