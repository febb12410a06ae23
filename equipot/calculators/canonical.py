"""Edges in canonical order, independent of when the neighbor list was built.

A neighbor list with a skin holds longer pairs, in an order that depends on the moment
of the search. Both change the order of sums, hence the last bits of an energy. Here
pairs beyond the cutoff are dropped and the others come in one order, so that a restart,
which searches at another moment, continues bit for bit.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float64, Int64

from equipot.neighbors import NeighborList, VerletList


@dataclass(frozen=True)
class Edges:
    """Pairs within the cutoff, sorted by receiver, sender, and translation."""

    index: Int64[np.ndarray, "2 edges"]
    """Senders and receivers."""
    shift: Int64[np.ndarray, "edges 3"]
    """Lattice translations of the senders."""
    distances: Float64[np.ndarray, " edges"]
    """In Å."""
    backend: str
    """Search that found them, as in `equipot.neighbors.neighbor_list`."""


class CanonicalEdges:
    """Neighbor list whose result is a function of the structure.

    Args:
        cutoff: Radius in Å.
        skin: Excess radius of the search in Å.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        self._verlet = VerletList(cutoff, skin)
        self._found: NeighborList | None = None
        self._index: Int64[np.ndarray, "2 pairs"] = np.zeros((2, 0), np.int64)
        self._shift: Int64[np.ndarray, "pairs 3"] = np.zeros((0, 3), np.int64)

    def __call__(self, atoms: Atoms) -> Edges:
        """Edges of a structure.

        Args:
            atoms: Positions and cell must be finite.
        """
        cell = atoms.cell.array
        found = self._verlet(atoms.positions, cell, atoms.pbc)
        if found is not self._found:
            self._sort(found)
        senders, receivers = self._index
        vectors = atoms.positions[senders] - atoms.positions[receivers]
        if atoms.pbc.any():
            vectors += self._shift @ cell
        distances = np.sqrt((vectors * vectors).sum(axis=1))
        inside = distances < self._verlet.cutoff
        return Edges(
            self._index[:, inside],
            self._shift[inside],
            distances[inside],
            found.backend,
        )

    def _sort(self, found: NeighborList) -> None:
        order = np.lexsort((*found.shift.T[::-1], found.index[0], found.index[1]))
        self._index, self._shift = found.index[:, order], found.shift[order]
        self._found = found
