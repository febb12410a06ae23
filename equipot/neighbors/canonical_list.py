"""Neighbor list with a skin whose result depends on the current structure only.

A neighbor list with a skin contains longer pairs, in an order that depends on when the
search was done. Both change the order of sums, and thus the last bits of an energy.
Here, pairs beyond the cutoff are removed and the others are sorted, so that a restarted
simulation, with a search at another step, continues bit for bit.
"""

from ase import Atoms

from equipot.neighbors.interface import NeighborList
from equipot.neighbors.verlet import VerletList


class CanonicalList:
    """Neighbor list with a skin and a canonical result.

    Args:
        cutoff: Cutoff radius in Å.
        skin: Additional search radius in Å.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        self._verlet = VerletList(cutoff, skin)
        self._found: NeighborList | None = None
        self._sorted: NeighborList | None = None

    def __call__(self, atoms: Atoms) -> NeighborList:
        """Pairs within the cutoff in canonical order, with distances.

        Args:
            atoms: Structure with finite positions and cell.
        """
        cell = atoms.cell.array
        found = self._verlet(atoms.positions, cell, atoms.pbc)
        if self._sorted is None or found is not self._found:
            self._found, self._sorted = found, found.canonical()
        current = self._sorted.measured(atoms.positions, cell, atoms.pbc)
        return current.within(self._verlet.cutoff)
