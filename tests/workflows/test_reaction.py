"""What makes a saddle point a verified transition state, and what does not."""

import dataclasses

import numpy as np
import pytest
from ase import Atoms

from equipot.workflows import find_saddle, reaction_through
from equipot.workflows.reaction import largest_distance
from tests.workflows.analytic_potentials import lennard_jones, torsion


@pytest.fixture(scope="module")
def inversion():
    """Four Lennard-Jones atoms that turn inside out, on masses of argon."""
    calculator = lennard_jones(1.0, 1.0)
    r, h = 1.12, 1.12 * np.sqrt(3) / 2
    guess = Atoms("Ar4", [(0, -r / 2, 0), (0, r / 2, 0), (h, 0, 0), (-h, 0, 0)])
    guess.calc = calculator
    top = find_saddle(guess, calculator.hessian).atoms
    top.calc = calculator
    return reaction_through(top, calculator.hessian, step=0.2)


def test_the_inversion_of_four_atoms_is_verified(inversion):
    assert inversion.problems == ()
    assert inversion.saddle.num_imaginary == 1
    assert inversion.barriers == pytest.approx((6 - 5.073420,) * 2, abs=1e-5)
    zero = inversion.saddle.zero_point_energy - inversion.start.zero_point_energy
    expected = inversion.barriers[0] + zero
    assert inversion.zero_point_barriers == pytest.approx((expected,) * 2, abs=1e-6)
    assert inversion.record()["verified"] is True


def test_both_ends_are_mirror_images_and_not_the_same(inversion):
    start, end = inversion.start.atoms, inversion.end.atoms

    np.testing.assert_allclose(
        start.get_all_distances(), end.get_all_distances(), atol=1e-3
    )
    assert largest_distance(start, end) > 0.5


def test_a_reaction_can_be_read_from_either_side(inversion):
    end = inversion.end.atoms.copy()
    end.rotate(50, (1, 1, 0))

    turned = inversion.from_start(end)

    assert turned.start is inversion.end
    assert turned.path.frames[0] is inversion.path.frames[-1]
    assert turned.path.saddle == len(turned.path.frames) - 1 - inversion.path.saddle
    assert turned.path.lengths[turned.path.saddle] == 0
    assert (np.diff(turned.path.lengths) > 0).all()
    assert turned.from_start(end) is turned


def test_what_is_wrong_is_named(inversion):
    same_ends = dataclasses.replace(inversion, end=inversion.start)
    saddle_as_end = dataclasses.replace(inversion, end=inversion.saddle)
    forces = dataclasses.replace(inversion.saddle, max_force=0.5)
    moving = dataclasses.replace(inversion, saddle=forces)

    assert same_ends.problems == ("both sides of the path lead to the same structure",)
    assert "the end is not a minimum: 1 imaginary mode" in saddle_as_end.problems
    assert (
        "the end is not lower in energy than the saddle point" in saddle_as_end.problems
    )
    assert moving.problems == ("the largest force at the saddle is 0.500 eV/Å",)


def soft_torsion(symbol, height, degrees=1.0):
    """Four atoms whose dihedral angle meets a barrier in eV at 0 and 180 degrees."""
    cosine, middle, end = -1 / 3, 1.5, 1.4
    sine, angle = np.sqrt(1 - cosine**2), np.radians(degrees)
    top = np.array([sine * np.cos(angle), sine * np.sin(angle), -cosine]) * end
    positions = [
        np.array([sine, 0, cosine]) * end,
        np.zeros(3),
        np.array([0, 0, middle]),
        np.array([0, 0, middle]) + top,
    ]
    atoms = Atoms([symbol, "C", "C", symbol], positions)
    bonds = {(0, 1): (30.0, end), (1, 2): (28.0, middle), (2, 3): (30.0, end)}
    angles = {(0, 1, 2): (6.0, cosine), (1, 2, 3): (6.0, cosine)}
    atoms.calc = torsion(bonds, angles, (0, 1, 2, 3), height)
    return atoms


def through_torsion(symbol, height, **options):
    guess = soft_torsion(symbol, height)
    found = find_saddle(guess, guess.calc.hessian, fmax=1e-5)
    found.atoms.calc = guess.calc
    return reaction_through(found.atoms, guess.calc.hessian, **options)


@pytest.mark.parametrize(
    ("symbol", "height"), [("Cl", 0.018), ("H", 0.018), ("H", 2e-3)]
)
def test_the_path_of_a_soft_torsion_reaches_its_minima(symbol, height):
    """All forces on the way are below 0.02 eV/Å, the saddle point's among them."""
    reaction = through_torsion(symbol, height, step=0.3)

    assert reaction.problems == ()
    assert reaction.barriers == pytest.approx((height,) * 2, rel=1e-3)
    drop = reaction.saddle.energy - reaction.path.energies[[0, -1]]
    np.testing.assert_allclose(drop, height, rtol=0.01)
    assert (np.diff(reaction.path.energies[reaction.path.saddle :]) < 0).all()


def test_a_path_that_stops_on_the_way_is_not_verified():
    reaction = through_torsion("Cl", 0.018, max_steps=5)

    start, end = reaction.problems
    assert start.startswith("the path does not reach the start: it ends 16.8")
    assert "a total drop of 18 meV; it needs more than 5 steps of 0.1" in start
    assert end.startswith("the path does not reach the end")
    record = reaction.record()
    assert record["verified"] is False
    assert record["path"]["ends_above_minima_ev"][0] == pytest.approx(0.0168, abs=1e-4)


def test_a_path_that_ends_above_its_minimum_is_not_verified(inversion):
    path = dataclasses.replace(
        inversion.path, energies=np.maximum(inversion.path.energies, -5.9)
    )
    short = dataclasses.replace(inversion, path=path)
    lenient = dataclasses.replace(short, tolerance=0.2)

    assert [p.split(":")[0] for p in short.problems] == [
        "the path does not reach the start",
        "the path does not reach the end",
    ]
    assert lenient.problems == ()


def test_the_tolerance_of_a_path_is_a_share():
    with pytest.raises(ValueError, match="a tolerance between 0 and 1"):
        through_torsion("H", 0.018, tolerance=2.0)


def test_a_tighter_tolerance_walks_further():
    loose, tight = (
        through_torsion("H", 0.018, tolerance=share) for share in (0.1, 1e-3)
    )

    assert max(tight.gaps) < 1e-3 * 0.018 < max(loose.gaps)


def test_energies_of_a_reaction_say_what_they_are_per(inversion):
    assert inversion.per == "per molecule of Ar4"
    assert inversion.record()["per"] == "per molecule of Ar4"
