"""A list with a skin is complete whatever moves, and reused while that is certain."""

import numpy as np
import pytest
from nasty_structures import NASTY, Structure, edges

from equipot.neighbors import VerletList, neighbor_list


def crystal() -> Structure:
    return NASTY["several-bins"]


def test_small_motions_reuse_the_list():
    positions, cell, pbc, cutoff = crystal()
    verlet = VerletList(cutoff, skin=0.5)
    rng = np.random.default_rng(0)

    lists = [
        verlet(positions + 0.01 * step * rng.uniform(-1, 1, positions.shape), cell, pbc)
        for step in range(10)
    ]

    assert verlet.rebuilds == 1
    assert all(found is lists[0] for found in lists)
    assert lists[0].cutoff == cutoff


def test_list_is_complete_when_atoms_moved_as_far_as_reuse_allows():
    positions, cell, pbc, cutoff = crystal()
    verlet = VerletList(cutoff, skin=0.5)
    verlet(positions, cell, pbc)
    direction = np.random.default_rng(1).normal(size=positions.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    moved = Structure(positions + 0.2499 * direction, cell, pbc, cutoff)

    found = verlet(*moved[:3])

    assert verlet.rebuilds == 1
    assert edges(found, moved) == edges(neighbor_list(*moved), moved)


def test_atoms_that_moved_beyond_the_skin_lead_to_a_search():
    positions, cell, pbc, cutoff = crystal()
    verlet = VerletList(cutoff, skin=0.5)
    verlet(positions, cell, pbc)
    jump = 0.51 * np.eye(1, positions.size, 3 * 9 + 2).reshape(positions.shape)

    verlet(positions + jump, cell, pbc)

    assert verlet.rebuilds == 2


def test_two_atoms_that_approach_use_up_the_skin_together():
    verlet = VerletList(2.0, skin=0.5)
    positions = np.array([[0.0, 0, 0], [2.6, 0, 0]])
    verlet(positions, np.zeros((3, 3)), False)

    closer = positions + np.array([[0.31, 0, 0], [-0.31, 0, 0]])
    found = verlet(closer, np.zeros((3, 3)), False)

    assert found.index.shape == (2, 2)


@pytest.mark.parametrize("strain", [0.01, 0.03, 0.05, 0.08])
@pytest.mark.parametrize("kind", ["compression", "shear"])
def test_far_images_in_a_small_strained_cell_are_not_missed(strain, kind):
    """Images move in proportion to their distance, corners of the cell much less."""
    cell = 2.87 / 2 * np.array([[-1.0, 1, 1], [1, -1, 1], [1, 1, -1]])
    atoms, pbc, cutoff = np.zeros((1, 3)), np.ones(3, dtype=bool), 12.0
    deformation = (1 - strain) * np.eye(3)
    if kind == "shear":
        deformation = np.eye(3) + strain * np.eye(3)[[1, 2, 0]]
    strained = Structure(atoms, cell @ deformation, pbc, cutoff)
    verlet = VerletList(cutoff, skin=0.5)
    verlet(atoms, cell, pbc)

    found = verlet(*strained[:3])

    assert edges(found, strained) == edges(neighbor_list(*strained), strained)


def test_uniform_expansion_reuses_the_list():
    positions, cell, pbc, cutoff = NASTY["tilted"]
    verlet = VerletList(cutoff, skin=0.5)

    verlet(positions, cell, pbc)
    verlet(positions * 1.05, cell * 1.05, pbc)

    assert verlet.rebuilds == 1


def test_free_rows_of_the_cell_do_not_matter():
    positions, cell, pbc, cutoff = crystal()
    verlet = VerletList(cutoff)
    verlet(positions, cell, pbc)

    verlet(positions, np.where(pbc[:, None], cell, 0.0), pbc)

    assert verlet.rebuilds == 1


def test_another_number_of_atoms_or_other_directions_lead_to_a_search():
    positions, cell, pbc, cutoff = crystal()
    verlet = VerletList(cutoff)
    verlet(positions, cell, pbc)

    fewer = verlet(positions[:-3], cell, pbc)
    other = verlet(positions[:-3], cell, np.array([False, False, True]))

    assert verlet.rebuilds == 3
    assert fewer.num_atoms == len(positions) - 3
    assert fewer.shift[:, 0].any()
    assert not other.shift[:, 0].any()


def test_arrays_that_change_in_place_are_noticed():
    positions, cell, pbc, cutoff = crystal()
    positions = positions.copy()
    verlet = VerletList(cutoff, skin=0.5)
    verlet(positions, cell, pbc)

    positions += np.linspace(0, 3, len(positions))[:, None]
    verlet(positions, cell, pbc)

    assert verlet.rebuilds == 2


@pytest.mark.parametrize("count", [0, 1])
def test_structures_of_no_or_one_atom_are_legal(count):
    verlet = VerletList(3.0)

    for _ in range(2):
        found = verlet(np.zeros((count, 3)), np.zeros((3, 3)), False)

    assert found.index.shape == (2, 0)
    assert verlet.rebuilds == 1


def test_nan_is_refused_and_not_taken_for_no_motion():
    positions, cell, pbc, cutoff = crystal()
    verlet = VerletList(cutoff)
    verlet(positions, cell, pbc)
    broken_positions, broken_cell = positions.copy(), cell.copy()
    broken_positions[1, 0] = np.nan
    broken_cell[0, 0] = np.nan

    with pytest.raises(ValueError, match="position of atom 1"):
        verlet(broken_positions, cell, pbc)
    with pytest.raises(ValueError, match="lattice vector 0"):
        verlet(positions, broken_cell, pbc)


def test_nan_is_refused_in_a_structure_of_one_atom():
    verlet = VerletList(3.0)
    verlet(np.zeros((1, 3)), 4 * np.eye(3), True)

    with pytest.raises(ValueError, match="position of atom 0"):
        verlet(np.full((1, 3), np.nan), 4 * np.eye(3), True)


@pytest.mark.parametrize("skin", [-0.1, float("nan"), float("inf")])
def test_skin_is_not_negative(skin):
    with pytest.raises(ValueError, match="skin must be a finite length >= 0"):
        VerletList(4.0, skin=skin)


def test_trajectories_of_the_suite_are_right(oracle):
    def make(cutoff, skin):
        verlet = VerletList(cutoff, skin)

        def build(positions, cell, pbc):
            found = verlet(positions, cell, pbc)
            sender, receiver = found.index
            vectors = positions[sender] - positions[receiver] + found.shift @ cell
            near = np.linalg.norm(vectors, axis=1) < cutoff
            return receiver[near], sender[near], found.shift[near]

        return build

    assert oracle.check_skin(make) == []
