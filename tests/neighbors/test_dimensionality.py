"""Slabs, wires and molecules are told from crystals by how pairs connect images."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, diamond100, fcc111, graphene, molecule, nanotube

from equipot.neighbors import dimensionality, neighbor_list

BOXED = molecule("C6H6", vacuum=6.0, pbc=True)
SLAB = diamond100("Si", (2, 2, 5), a=5.43, vacuum=8.0)
SLAB.pbc = True
WRAPPED = SLAB.copy()
WRAPPED.positions[:, 2] += 0.5 * WRAPPED.cell[2, 2]  # halves on both sides of the cell
WRAPPED.wrap()
TUBE = nanotube(5, 0, vacuum=6.0)
TUBE.pbc = True
LAYER = graphene(vacuum=8.0)
LAYER.pbc = True
CHAIN = Atoms("C", cell=[9, 9, 1.3], pbc=True)


@pytest.mark.parametrize(
    ("atoms", "cutoff", "expected"),
    [
        (bulk("Si"), 3.0, 3),
        (bulk("Si").repeat(4), 3.0, 3),
        (bulk("Cu", cubic=True), 3.0, 3),
        (bulk("Si"), 1.0, 0),  # no pairs
        (SLAB, 5.0, 2),
        (WRAPPED, 5.0, 2),
        (LAYER, 3.0, 2),
        (fcc111("Cu", (1, 1, 3), vacuum=8.0), 3.0, 2),
        (TUBE, 3.0, 1),
        (CHAIN, 2.0, 1),
        (BOXED, 4.0, 0),
        (BOXED, 14.0, 3),
        (molecule("C6H6"), 4.0, 0),
        (Atoms(), 4.0, 0),
    ],
)
def test_dimension_is_that_of_the_connected_images(atoms, cutoff, expected):
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)

    assert dimensionality(found.index, found.shift, len(atoms)) == expected


def test_chains_that_cross_without_touching_have_one_dimension():
    atoms = Atoms("C2", [[0, 0, 0], [0, 4.5, 4.5]], cell=[9.1, 9, 1.3], pbc=True)
    along_z = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 2.0)
    index = np.column_stack([along_z.index, [[1, 1], [1, 1]]])
    shift = np.concatenate([along_z.shift, [[1, 0, 0], [-1, 0, 0]]])
    kept = ~((index[0] == 1) & (shift[:, 2] != 0))

    assert dimensionality(index[:, kept], shift[kept], 2) == 1
