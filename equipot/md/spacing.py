"""Pairs of atoms that are too close, and atoms without neighbors."""

from typing import final

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from equipot.neighbors import VerletList, neighbor_list
from equipot.neighbors.pairs import pair_distances

SHORT_SEARCH_RADIUS_A = 3.5
"""Radius in Å of a first search, within which almost every atom has a neighbor."""
SKIN_A = 1.0
"""Skin in Å of the list that is kept from one check to the next."""


@final
class Spacing:
    """Fast check for pairs that may be too close and atoms that may be isolated.

    Args:
        close: Distance in Å of pairs that are too close; None for no check.
        isolated: Distance in Å to the nearest atom of isolated ones; None for no check.
    """

    def __init__(self, close: float | None, isolated: float | None) -> None:
        self._close = close or 0.0
        self._reach = 0.0 if isolated is None else min(isolated, SHORT_SEARCH_RADIUS_A)
        radius = max(self._close, self._reach)
        self._list = VerletList(radius, SKIN_A) if radius > 0 else None

    def suspects(self, atoms: Atoms) -> tuple[bool, bool]:
        """Whether `close_pairs` and `isolated_atoms` may find anything.

        Args:
            atoms: Structure with finite positions.

        Returns:
            Whether two atoms are too close, and whether an atom has no neighbor within
            the radius of the first search of `isolated_atoms`.
        """
        if self._list is None:
            return False, False
        positions, cell, pbc = atoms.positions, atoms.cell.array, atoms.pbc
        found = self._list(positions, cell, pbc)
        distances = pair_distances(positions, cell, pbc, found.index, found.shift)
        close = bool(distances.min(initial=np.inf) < self._close)
        if self._reach == 0.0:
            return close, False
        accompanied = np.zeros(len(atoms), dtype=bool)
        accompanied[found.index[1][distances < self._reach]] = True
        return close, not accompanied.all()


def close_pairs(
    atoms: Atoms, cutoff: float
) -> tuple[Int[np.ndarray, "pairs 2"], Float[np.ndarray, " pairs"]]:
    """Pairs of atoms within a cutoff, each listed once.

    Args:
        atoms: Structure with finite positions.
        cutoff: Distance in Å.

    Returns:
        pairs: Indices of the two atoms; equal for an atom and its own periodic image.
        distances: Distances in Å.
    """
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    senders, receivers = found.index
    vectors = (
        atoms.positions[senders]
        - atoms.positions[receivers]
        + found.shift @ atoms.cell.array
    )
    once = senders <= receivers
    distances = np.linalg.norm(vectors, axis=1)
    return found.index.T[once], distances[once]


def isolated_atoms(atoms: Atoms, distance: float) -> Int[np.ndarray, " some"]:
    """Indices of atoms without a neighbor, periodic images included.

    Args:
        atoms: Structure with finite positions.
        distance: Search radius in Å.
    """
    lonely = np.arange(len(atoms))
    # A short search finds a neighbor of nearly all atoms, so the long one is rare.
    for radius in (min(distance, SHORT_SEARCH_RADIUS_A), distance):
        if not len(lonely):
            break
        found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, radius)
        lonely = np.setdiff1d(lonely, found.index[1])
    return lonely
