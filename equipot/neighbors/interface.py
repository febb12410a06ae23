"""Common interface of the neighbor searches, with input checks and sorted output."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy.typing import ArrayLike

from equipot.graph.edge_pairs import EdgePairs
from equipot.neighbors.brute_force import search_brute_force
from equipot.neighbors.cell import check_independent_rows, prepare_box
from equipot.neighbors.cell_search import search_cells
from equipot.neighbors.pairs import SearchResult, concatenate, pair_distances
from equipot.neighbors.vesin_backend import search_vesin, vesin_is_unsafe

MAX_COORDINATE = 1e10
"""Maximum coordinate in Å; larger ones do not resolve a bond in float64."""

Positions = Float64[np.ndarray, "atoms 3"]
Cell = Float64[np.ndarray, "3 3"]
Periodic = Bool[np.ndarray, " 3"]


@dataclass(frozen=True)
class NeighborList:
    r"""Directed pairs of atoms closer than a cutoff.

    A pair consists of an atom i and the image of an atom j at
    :math:`r_j + S \cdot \mathrm{cell}`. The list is full: with (i, j, S) it contains
    (j, i, -S). It contains periodic images of an atom, but not the atom itself.
    """

    index: Int64[np.ndarray, "2 edges"]
    """Senders j (row 0) and receivers i (row 1), sorted by receiver."""
    shift: Int64[np.ndarray, "edges 3"]
    """Lattice translations S of the senders; zero along non-periodic directions."""
    cutoff: float
    """Radius in Å within which the list is complete; longer pairs may be included."""
    num_atoms: int
    """Number of atoms."""
    backend: str
    """Key in `BACKENDS` of the search; "none" without atoms."""
    positions: Positions
    """Cartesian coordinates in Å, from which `distances` are computed."""
    cell: Cell
    """Lattice vectors as rows in Å."""
    pbc: Periodic
    """Periodicity along each lattice vector."""

    @cached_property
    def distances(self) -> Float64[np.ndarray, " edges"]:
        """Lengths of the pairs in Å."""
        return pair_distances(
            self.positions, self.cell, self.pbc, self.index, self.shift
        )

    @property
    def known_pairs(self) -> EdgePairs | None:
        """Pairs of opposite edges on the CPU, if they are known without a search."""
        pairs: EdgePairs | None = vars(self).get("_pairs")
        return pairs

    def within(self, cutoff: float) -> "NeighborList":
        """Select the pairs closer than a cutoff.

        Args:
            cutoff: Cutoff radius in Å, at most that of the list.

        Raises:
            ValueError: If the list is not complete within this cutoff.
        """
        if cutoff > self.cutoff:
            raise ValueError(
                f"the neighbor list is complete within {self.cutoff} Å only, less than "
                f"{cutoff} Å; search again with the larger cutoff"
            )
        if cutoff == self.cutoff and "_trimmed" in vars(self):
            return self
        inside = self.distances < cutoff
        return trimmed(
            replace(
                self,
                index=self.index[:, inside],
                shift=self.shift[inside],
                cutoff=float(cutoff),
            ),
            self.distances[inside],
        )

    def canonical(self) -> "NeighborList":
        """Sort the pairs by receiver, sender, and translation.

        The order then does not depend on the search or on when it was done.
        """
        order = np.lexsort((*self.shift.T[::-1], self.index[0], self.index[1]))
        return replace(self, index=self.index[:, order], shift=self.shift[order])

    def measured(
        self, positions: Positions, cell: Cell, pbc: Periodic
    ) -> "NeighborList":
        """Copy with the positions and cell of a moved structure.

        Args:
            positions: Cartesian coordinates in Å of the same atoms.
            cell: Lattice vectors as rows in Å.
            pbc: Periodicity along each lattice vector.
        """
        return replace(
            self, positions=positions.copy(), cell=cell.copy(), pbc=pbc.copy()
        )


def trimmed(
    neighbors: NeighborList,
    distances: Float64[np.ndarray, " edges"],
    pairs: EdgePairs | None = None,
) -> NeighborList:
    """Mark a list as one without pairs beyond its cutoff.

    Args:
        neighbors: New list, which is changed in place.
        distances: Lengths of its pairs in Å, all below its cutoff.
        pairs: Pairs of opposite edges, if they are known.
    """
    vars(neighbors).update(distances=distances, _pairs=pairs, _trimmed=True)
    return neighbors


def neighbor_list(
    positions: ArrayLike,
    cell: ArrayLike,
    pbc: ArrayLike | bool,
    cutoff: float,
    *,
    backend: str = "auto",
) -> NeighborList:
    """Find all directed pairs of atoms closer than a cutoff, in any cell.

    Args:
        positions: Cartesian coordinates in Å, shape (atoms, 3); atoms may be outside
            of the cell.
        cell: Lattice vectors as rows in Å, shape (3, 3); rows of non-periodic
            directions are ignored and may be zero.
        pbc: Periodicity along each lattice vector, or one boolean for all.
        cutoff: Cutoff radius in Å; pairs at exactly this distance are excluded.
        backend: A key of `BACKENDS`, or "auto": vesin, or the NumPy search for the few
            cells that vesin does not support. The result contains the choice.

    Returns:
        The pairs, sorted by receiver.

    Raises:
        ValueError: If shapes are wrong, numbers are not finite, the cutoff is not
            positive, periodic lattice vectors are linearly dependent, or the backend is
            unknown or does not support this structure.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise ValueError(
            f"unknown backend {backend!r}; use one of auto, {', '.join(BACKENDS)}"
        )
    positions = _check_positions(positions)
    cell = _check_cell(cell)
    pbc = _check_pbc(pbc)
    if not 0 < cutoff < float("inf"):
        raise ValueError(f"cutoff must be a positive finite length in Å, got {cutoff}")
    check_independent_rows(cell.tolist(), pbc.tolist())
    if len(positions) == 0:
        pairs, backend = concatenate([]), "none"
    elif backend == "auto":
        pairs, backend = _search_auto(positions, cell, pbc, cutoff)
    else:
        pairs = BACKENDS[backend](positions, cell, pbc, cutoff)
    index, shift = _sort_by_receiver(pairs, len(positions))
    return NeighborList(
        index=index,
        shift=shift,
        cutoff=float(cutoff),
        num_atoms=len(positions),
        backend=backend,
        positions=positions.copy(),
        cell=cell.copy(),
        pbc=pbc.copy(),
    )


def _search_auto(
    positions: Positions, cell: Cell, pbc: Periodic, cutoff: float
) -> tuple[SearchResult, str]:
    box = prepare_box(positions, cell, pbc.tolist(), cutoff)
    if vesin_is_unsafe(box, cutoff) is None:
        return search_vesin(box, cutoff), "vesin"
    return search_cells(box, cutoff), "cells"


def _vesin(
    positions: Positions, cell: Cell, pbc: Periodic, cutoff: float
) -> SearchResult:
    return search_vesin(prepare_box(positions, cell, pbc.tolist(), cutoff), cutoff)


def _cells(
    positions: Positions, cell: Cell, pbc: Periodic, cutoff: float
) -> SearchResult:
    return search_cells(prepare_box(positions, cell, pbc.tolist(), cutoff), cutoff)


BACKENDS: dict[str, Callable[[Positions, Cell, Periodic, float], SearchResult]] = {
    "vesin": _vesin,
    "cells": _cells,
    "brute_force": search_brute_force,
}
"""Searches by name; all return the same pairs."""


def _check_positions(positions: ArrayLike) -> Positions:
    array = np.asarray(positions, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ValueError(f"positions must have shape (atoms, 3), got {array.shape}")
    # NaN compares false, so this test also detects values that are not finite
    if not (np.abs(array) <= MAX_COORDINATE).all():
        atom = int(np.argmin((np.abs(array) <= MAX_COORDINATE).all(axis=1)))
        raise ValueError(
            f"the position of atom {atom} is {array[atom].tolist()}; coordinates must "
            f"be finite and within {MAX_COORDINATE:.0e} Å of the origin"
        )
    return np.ascontiguousarray(array)


def _check_cell(cell: ArrayLike) -> Cell:
    array = np.asarray(cell, dtype=np.float64)
    if array.shape != (3, 3):
        raise ValueError(
            f"cell must have shape (3, 3), lattice vectors as rows, got {array.shape}"
        )
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise ValueError(
            f"lattice vector {row} is {array[row].tolist()}; it must be finite"
        )
    return array


def _check_pbc(pbc: ArrayLike | bool) -> Periodic:
    array = np.asarray(pbc, dtype=bool)
    if array.shape not in ((), (3,)):
        raise ValueError(
            f"pbc must be one boolean or three, one per lattice vector, got {pbc!r}"
        )
    return np.broadcast_to(array, 3)


def _sort_by_receiver(
    pairs: SearchResult, num_atoms: int
) -> tuple[Int64[np.ndarray, "2 edges"], Int64[np.ndarray, "edges 3"]]:
    key = pairs.receiver
    if num_atoms <= 2**16:
        key = key.astype(np.uint16)  # NumPy uses radix sort for short integers
    order = np.argsort(key, kind="stable")
    index = np.stack([pairs.sender[order], pairs.receiver[order]])
    return index, np.take(pairs.shift, order, axis=0)  # twice as fast as shift[order]
