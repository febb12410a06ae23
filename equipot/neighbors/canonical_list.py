"""Neighbor lists that depend on the structure only, not on when they were searched.

A neighbor list with a skin holds longer pairs, in an order that depends on the moment
of the search. Both change the order of sums, hence the last bits of an energy. Here
pairs beyond the cutoff are dropped and the others come in one order, so that a restart,
which searches at another moment, continues bit for bit.
"""

from ase import Atoms

from equipot.neighbors.interface import NeighborList
from equipot.neighbors.verlet import VerletList


class CanonicalList:
    """Neighbor list with a skin whose result is a function of the structure.

    Args:
        cutoff: Radius in Å.
        skin: Excess radius of the search in Å.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        self._verlet = VerletList(cutoff, skin)
        self._found: NeighborList | None = None
        self._sorted: NeighborList | None = None

    def __call__(self, atoms: Atoms) -> NeighborList:
        """Pairs within the cutoff in canonical order, with their distances.

        Args:
            atoms: Positions and cell must be finite.
        """
        cell = atoms.cell.array
        found = self._verlet(atoms.positions, cell, atoms.pbc)
        if self._sorted is None or found is not self._found:
            self._found, self._sorted = found, found.canonical()
        current = self._sorted.measured(atoms.positions, cell, atoms.pbc)
        return current.within(self._verlet.cutoff)
