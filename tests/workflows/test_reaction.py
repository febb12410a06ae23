"""What makes a saddle point a verified transition state, and what does not."""

import dataclasses

import numpy as np
import pytest
from ase import Atoms

from equipot.workflows import find_saddle, reaction_through
from equipot.workflows.reaction import largest_distance
from tests.workflows.analytic_potentials import lennard_jones


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
    assert "the end is not a minimum: 1 imaginary" in saddle_as_end.problems
    assert "the end is not below the saddle" in saddle_as_end.problems
    assert moving.problems == ("forces of 0.500 eV/Å are left at the saddle",)
