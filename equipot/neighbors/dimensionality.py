"""Connected components of a structure and the dimensionality of its periodicity."""

import numpy as np
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def dimensionality(
    index: Int[np.ndarray, "2 edges"], shift: Int[np.ndarray, "edges 3"], count: int
) -> int:
    """Highest dimensionality of a connected component of a structure.

    It is 3 for a crystal, 2 for a slab or a sheet, 1 for a wire or a chain, and 0 for
    molecules, independent of ``pbc`` and of the amount of vacuum in the cell.

    Args:
        index: Senders and receivers.
        shift: Lattice translations of the senders.
        count: Number of atoms.

    Returns:
        Largest number of linearly independent lattice translations that connect an atom
        to its own images along edges.
    """
    if not index.shape[1]:
        return 0
    part, cell = connected_parts(index, shift, count)
    senders, receivers = index
    # An edge that closes a cycle leads to an image of an atom of the spanning tree
    loops = cell[receivers] + shift - cell[senders]
    closed = np.unique(np.column_stack([part[receivers], loops]), axis=0)
    closed = closed[closed[:, 1:].any(axis=1)]
    return max(
        (
            int(np.linalg.matrix_rank(closed[closed[:, 0] == p, 1:].astype(float)))
            for p in np.unique(closed[:, 0])
        ),
        default=0,
    )


def connected_parts(
    index: Int[np.ndarray, "2 edges"], shift: Int[np.ndarray, "edges 3"], count: int
) -> tuple[Int[np.ndarray, " atoms"], Int[np.ndarray, "atoms 3"]]:
    """Connected components of a structure, unwrapped across periodic boundaries.

    Args:
        index: Senders and receivers.
        shift: Lattice translations of the senders.
        count: Number of atoms.

    Returns:
        The component of each atom, numbered by their first atoms; and the lattice
        translation that unwraps the atom, found by breadth-first search from the first
        atom of the component.
    """
    graph = coo_array((np.ones(index.shape[1], bool), tuple(index)), (count, count))
    _, labels = connected_components(graph, directed=False)
    _, first, part = np.unique(labels, return_index=True, return_inverse=True)
    part = np.argsort(np.argsort(first))[part]
    senders, receivers = index
    cell = np.zeros((count, 3), np.int64)
    known = np.zeros(count, bool)
    known[first] = True
    while True:
        leads = np.flatnonzero(known[receivers] & ~known[senders])
        if not len(leads):
            return part, cell
        reached, edge = np.unique(senders[leads], return_index=True)
        chosen = leads[edge]
        cell[reached] = cell[receivers[chosen]] + shift[chosen]
        known[reached] = True
