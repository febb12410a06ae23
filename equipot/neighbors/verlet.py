"""Neighbor list with a skin (Verlet list)."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import ArrayLike

from equipot.neighbors.interface import NeighborList, neighbor_list

MAX_FRACTION_OF_SKIN = 0.5 * (1 - 1e-9)
"""Fraction of the skin up to which every atom may move without a closer look."""


class VerletList:
    r"""Neighbor list of a simulation, rebuilt only when a pair could be missing.

    The list is built with cutoff + skin and returned unfiltered: it is complete within
    the cutoff and contains longer pairs, for which the envelope of a model is zero.

    With the deformation :math:`F` of the cell since the last search and displacements
    :math:`\delta = r - r_0 F` of atoms relative to it, a pair that is closer than the
    cutoff now was closer than
    :math:`(\mathrm{cutoff} + |\delta_i| + |\delta_j|) / \sigma_\min(F)` then. The list
    is reused while this is at most cutoff + skin, which is valid for cells of any size.
    Do not wrap positions between calls: a wrapped atom counts as displaced, which is
    correct but requires a search.
    """

    def __init__(self, cutoff: float, skin: float = 0.5, backend: str = "auto") -> None:
        """Initialize; the first call searches.

        Args:
            cutoff: Radius in Å within which every returned list is complete.
            skin: Additional search radius in Å; 0 searches after every displacement.
            backend: As in `neighbor_list`.

        Raises:
            ValueError: If the skin is negative or not finite.
        """
        if not 0 <= skin < float("inf"):
            raise ValueError(f"skin must be a finite length >= 0 in Å, got {skin}")
        self.cutoff = cutoff
        self.skin = skin
        self.backend = backend
        self.rebuilds = 0
        """Number of searches."""
        self._last: _Snapshot | None = None

    def __call__(
        self, positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike | bool
    ) -> NeighborList:
        """Pairs of the current structure.

        Args:
            positions: Cartesian coordinates in Å, shape (atoms, 3).
            cell: Lattice vectors as rows in Å, shape (3, 3).
            pbc: Periodicity along each lattice vector, or one boolean for all.

        Returns:
            List that is complete within the cutoff; the same object while reused.

        Raises:
            ValueError: As in `neighbor_list`.
        """
        current = np.asarray(positions, dtype=np.float64)
        lattice = np.asarray(cell, dtype=np.float64)
        periodic = np.asarray(pbc, dtype=bool)
        last = self._last
        if last is None or not last.covers(current, lattice, periodic):
            found = neighbor_list(
                current,
                lattice,
                periodic,
                self.cutoff + self.skin,
                backend=self.backend,
            )
            last = self._last = _Snapshot(
                current.copy(),
                lattice.copy(),
                periodic.copy(),
                searched=self.cutoff + self.skin,
                neighbors=replace(found, cutoff=float(self.cutoff)),
            )
            self.rebuilds += 1
        return last.neighbors


@dataclass(frozen=True)
class _Snapshot:
    """Structure of the last search."""

    positions: Float64[np.ndarray, "atoms 3"]
    cell: Float64[np.ndarray, "3 3"]
    pbc: Bool[np.ndarray, "*three"]
    searched: float
    neighbors: NeighborList

    def covers(
        self,
        positions: Float64[np.ndarray, "..."],
        cell: Float64[np.ndarray, "..."],
        pbc: Bool[np.ndarray, "..."],
    ) -> bool:
        """Whether the list is certain to contain all pairs closer than the cutoff."""
        if (
            positions.shape != self.positions.shape
            or cell.shape != self.cell.shape
            or pbc.tobytes() != self.pbc.tobytes()
        ):
            return False
        same_cell = cell.tobytes() == self.cell.tobytes()
        if same_cell and self._stays_near(positions):
            return True
        expected, smallest_stretch = self.positions, 1.0
        periodic = np.broadcast_to(pbc, 3)
        if not np.array_equal(cell[periodic], self.cell[periodic]):
            deformation = _deformation(self.cell[periodic], cell[periodic])
            if not np.isfinite(deformation).all():
                return False
            smallest_stretch = np.linalg.svd(deformation, compute_uv=False)[-1]
            expected = self.positions @ deformation
        moved = np.linalg.norm(positions - expected, axis=1)
        if not np.isfinite(moved).all():
            return False
        # Displacements do not change distances between an atom and its images
        closing = np.partition(moved, -2)[-2:].sum() if len(moved) > 1 else 0.0
        return bool(smallest_stretch * self.searched - closing >= self.neighbors.cutoff)

    def _stays_near(self, positions: Float64[np.ndarray, "atoms 3"]) -> bool:
        """Whether all atoms moved less than half the skin, which is sufficient."""
        reach = MAX_FRACTION_OF_SKIN * (self.searched - self.neighbors.cutoff)
        moved = positions - self.positions
        squared = np.einsum("ix,ix->i", moved, moved).max(initial=0.0)
        return bool(squared <= reach * reach)  # false if a coordinate is not finite


def _deformation(
    before: Float64[np.ndarray, "periodic 3"], after: Float64[np.ndarray, "periodic 3"]
) -> Float64[np.ndarray, "3 3"]:
    """Matrix F with ``before @ F = after``; the identity normal to `before`."""
    return np.eye(3) + np.linalg.pinv(before) @ (after - before)
