"""Along how many directions a structure is connected to its own images."""

import numpy as np
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def dimensionality(
    index: Int[np.ndarray, "2 edges"], shift: Int[np.ndarray, "edges 3"], count: int
) -> int:
    """Dimension of the most extended part of a structure that pairs of atoms connect.

    It is 3 for a crystal, 2 for a slab or a sheet, 1 for a wire or a chain, and 0 for
    molecules; whatever ``pbc`` says, and however much vacuum the cell holds.

    Args:
        index: Senders and receivers.
        shift: Lattice translations of the senders.
        count: Number of atoms.

    Returns:
        The largest number of independent lattice translations that lead, along edges,
        from an atom to an image of itself.
    """
    if not index.shape[1]:
        return 0
    graph = coo_array((np.ones(index.shape[1], bool), tuple(index)), (count, count))
    _, part = connected_components(graph, directed=False)
    senders, receivers = index
    cell = _cells_along_edges(index, shift, part)
    # An edge that closes a loop leads to an image of the atom that the tree leads to.
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


def _cells_along_edges(
    index: Int[np.ndarray, "2 edges"],
    shift: Int[np.ndarray, "edges 3"],
    part: Int[np.ndarray, " atoms"],
) -> Int[np.ndarray, "atoms 3"]:
    """Cell of the image of each atom that a walk from the first one of its part meets.

    The walk is breadth-first, in all parts at once.
    """
    senders, receivers = index
    cell = np.zeros((len(part), 3), np.int64)
    known = np.zeros(len(part), bool)
    known[np.unique(part, return_index=True)[1]] = True
    while True:
        leads = np.flatnonzero(known[receivers] & ~known[senders])
        if not len(leads):
            return cell
        reached, first = np.unique(senders[leads], return_index=True)
        chosen = leads[first]
        cell[reached] = cell[receivers[chosen]] + shift[chosen]
        known[reached] = True
