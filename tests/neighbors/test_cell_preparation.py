"""A prepared box spans the same lattice, is compact, and padded along free axes."""

import numpy as np
import pytest
from nasty_structures import NASTY

from equipot.neighbors.cell import prepare_box
from equipot.neighbors.reduction import reduce_lattice

SKEWED = {
    "sheared": [[4, 0, 0], [200, 4, 0], [-200, 200, 4]],
    "sharp": [[6, 0, 0], [6, 0.01, 0], [0, 0, 9]],
    "flat": [[5, 0, 0], [0, 5, 0], [5, 5, 0.01]],
    "fcc": [[0, 2, 2], [2, 0, 2], [2, 2, 0]],
}
ATOMS = {name: case for name, case in NASTY.items() if len(case.positions)}


@pytest.mark.parametrize("name", SKEWED)
def test_reduction_finds_the_shortest_vectors_of_the_same_lattice(name):
    vectors = np.array(SKEWED[name], dtype=float)

    transform = reduce_lattice(vectors)
    reduced = transform @ vectors
    again = reduce_lattice(reduced) @ reduced

    assert round(abs(np.linalg.det(transform))) == 1
    lengths = np.linalg.norm(reduced, axis=1)
    np.testing.assert_allclose(np.linalg.norm(again, axis=1), lengths, rtol=1e-12)
    # Gram matrix of a reduced basis: no vector gets shorter by a multiple of another.
    gram = reduced @ reduced.T
    for k in range(1, 3):
        assert (2 * np.abs(gram[k, :k]) <= np.diag(gram)[:k] * (1 + 1e-9)).all()


def test_compact_cells_are_left_alone():
    atoms = np.zeros((1, 3))

    box = prepare_box(atoms, np.array(SKEWED["fcc"], float), [True] * 3, 5.0)

    assert box.transform is None
    assert box.cell.tolist() == SKEWED["fcc"]


@pytest.mark.parametrize("name", ATOMS)
def test_boxes_are_compact_and_periodic_vectors_belong_to_the_lattice(name):
    positions, cell, pbc, cutoff = ATOMS[name]

    box = prepare_box(positions, cell, pbc.tolist(), cutoff)

    volume = abs(np.linalg.det(box.cell))
    assert np.prod(np.linalg.norm(box.cell, axis=1)) <= 2 * volume
    to_lattice = box.original_shift(np.eye(3, dtype=np.int64))[pbc]
    np.testing.assert_allclose(to_lattice @ cell, box.cell[pbc], atol=1e-9)
    assert not to_lattice[:, ~pbc].any()


@pytest.mark.parametrize("name", [k for k, case in ATOMS.items() if not case.pbc.all()])
def test_free_axes_hold_all_atoms_and_vacuum_beyond_the_cutoff(name):
    positions, cell, pbc, cutoff = ATOMS[name]

    box = prepare_box(positions, cell, pbc.tolist(), cutoff)

    free, periodic = box.cell[~pbc], box.cell[pbc]
    length = np.linalg.norm(free, axis=1)
    spread = np.ptp(positions @ (free.T / length), axis=0)
    assert (length - spread > cutoff).all()
    assert np.abs(free @ periodic.T).max(initial=0) < 1e-9 * max(1, length.max())
