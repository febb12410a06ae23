"""Ends of a path are brought next to each other, or refused."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms

from equipot.workflows import guess_saddle
from equipot.workflows.images import superimposed
from equipot.workflows.reaction import largest_distance
from tests.workflows.analytic_potentials import Analytic, OneByOne


@pytest.fixture
def crystal():
    """Sixteen atoms of a tilted cell, and the same with one of them displaced."""
    start = bulk("Si", "diamond", a=5.431) * (2, 2, 2)
    end = start.copy()
    end.positions[3] += (0.7, -0.4, 0.2)
    return start, end


def test_wrapped_and_shifted_atoms_are_near_their_own_images(crystal):
    start, end = crystal
    rng = np.random.default_rng(1)
    end.positions += rng.integers(-2, 3, size=(len(end), 3)) @ end.cell.array
    end.translate((1.3, 2.9, -0.8))

    moved = superimposed(start, end).positions - start.positions

    # The common translation is that of the mean, to which the displaced atom adds.
    expected = np.zeros((16, 3))
    expected[3] = (0.7, -0.4, 0.2)
    np.testing.assert_allclose(moved, expected - expected.mean(axis=0), atol=1e-9)
    assert largest_distance(start, end) == pytest.approx(0.83066 * 15 / 16, rel=1e-4)


def test_fixed_atoms_keep_their_places(crystal):
    start, end = crystal
    for atoms in (start, end):
        atoms.set_constraint(FixAtoms([0, 1]))
    end.positions[5] += end.cell[1]

    moved = superimposed(start, end).positions - start.positions

    expected = np.zeros((16, 3))
    expected[3] = (0.7, -0.4, 0.2)
    np.testing.assert_allclose(moved, expected, atol=1e-9)


def test_a_molecule_in_a_box_is_turned_and_unwrapped():
    start = molecule("CH3OH")
    start.set_cell([15, 16, 17])
    start.pbc = True
    end = start.copy()
    end.rotate(70, (1, 2, 3))
    end.translate((6.0, 9.0, 2.0))
    end.wrap()

    assert largest_distance(start, end) < 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.set_cell(1.01 * a.cell), "expected the same cell"),
        (lambda a: a.set_pbc((True, True, False)), "the same periodic directions"),
        (lambda a: a.set_masses([30.0] * 16), "the same masses"),
        (lambda a: a.set_constraint(FixAtoms([0])), "the same fixed atoms"),
    ],
)
def test_ends_that_no_path_connects_are_refused(crystal, change, message):
    start, end = crystal
    change(end)

    with pytest.raises(ValueError, match=message):
        guess_saddle(start, end)


def test_fixed_atoms_that_have_moved_are_refused(crystal):
    start, end = crystal
    for atoms in (start, end):
        atoms.set_constraint(FixAtoms([3]))

    with pytest.raises(ValueError, match=r"distance of 0\.831 Å for atom 3"):
        guess_saddle(start, end)


def hopping():
    """An atom beside a fixed one that meets a barrier every 4 Å along x."""

    def energy_of(atoms):
        def energy(r, _):
            x, y, z = r[0]
            phase = 2 * np.pi * x / 4
            return 0.25 * (1 - phase.cos()) + y**2 + z**2

        return energy

    atoms = Atoms("HAr", [(0, 0, 0), (2, 5, 5)], cell=[12, 10, 10], pbc=True)
    atoms.set_constraint(FixAtoms([1]))
    atoms.calc = Analytic(energy_of)
    return atoms


def test_a_band_takes_the_short_way_across_the_boundary():
    start = hopping()
    end = start.copy()
    end.positions[0, 0] = 8.0  # the image of -4, one barrier away

    start.calc = OneByOne(start.calc)

    guess = guess_saddle(start, end, images=5)

    first, *others = start.calc.sizes
    assert (first, set(others)) == (5, {3})  # the ends do not move
    places = [image.positions[0, 0] for image in guess.band]
    np.testing.assert_allclose(places, [0, -1, -2, -3, -4], atol=0.3)
    assert guess.energies.max() == pytest.approx(0.5, abs=1e-3)
    assert guess.direction[0, 0] < 0
