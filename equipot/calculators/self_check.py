"""Run-time cross-check of the neighbor list by an independent algorithm."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from jaxtyping import Bool, Int

from equipot.neighbors import NeighborList, neighbor_list

Every = Literal["auto", "never"] | int
"""Interval of cross-checks, in evaluations."""

INTERVAL_UNUSUAL_CELLS = 100
"""Interval in evaluations of cross-checks in unusual cells."""
BRUTE_FORCE_ATOMS = 300
SAMPLED_FROM = 50_000
"""Number of atoms from which on only the neighbors of a sample are compared: a second
search would need more memory than the evaluation."""
SAMPLE = 64
CUTOFF_TOLERANCE = 1e-9
"""Tolerance in Å within which pairs at the cutoff are not compared."""
ROUNDING = 1e-14
"""The same, relative to the largest coordinate."""
MAX_FLAT_RATIO = 0.5
"""Ratio of the height of a cell to the length of its vector below which it is flat."""


class NeighborMismatchError(CalculationFailed):
    """Two neighbor searches find different pairs."""


@dataclass(frozen=True)
class SelfCheck:
    """Schedule and comparison of a second neighbor search.

    Args:
        cutoff: Cutoff radius in Å.
        every: Interval in evaluations, including the first one; "never", or
            "auto": the first one, and in unusual cells every hundredth.

    Raises:
        ValueError: If `every` is invalid.
    """

    cutoff: float
    every: Every

    def __post_init__(self) -> None:
        named = self.every in ("auto", "never")
        if not named and not (isinstance(self.every, int) and self.every > 0):
            raise ValueError(
                "check_neighbors must be 'auto', 'never' or a number of evaluations, "
                f"got {self.every!r}"
            )

    def due(self, atoms: Atoms, evaluation: int) -> bool:
        """Whether to compare in this evaluation.

        Args:
            atoms: Structure.
            evaluation: Number of previous evaluations.
        """
        if self.every == "never":
            return False
        if self.every != "auto":
            return evaluation % self.every == 0
        if evaluation == 0:
            return True
        return evaluation % INTERVAL_UNUSUAL_CELLS == 0 and is_unusual(
            atoms, self.cutoff
        )

    def compare(self, atoms: Atoms, edges: NeighborList) -> None:
        """Compare a neighbor list with an independent search.

        In large cells that are wider than twice the cutoff, the neighbors of some atoms
        are compared with those among all atoms.

        Args:
            atoms: Structure.
            edges: Its neighbor list.

        Raises:
            NeighborMismatchError: If the searches find different pairs.
        """
        cell = atoms.cell.array
        second = "cells"
        if edges.backend == "cells" or len(atoms) <= BRUTE_FORCE_ATOMS:
            second = "brute_force"
        margin = CUTOFF_TOLERANCE + ROUNDING * float(
            np.abs(atoms.positions).max(initial=0.0)
        )
        if len(atoms) >= SAMPLED_FROM and _is_wide(atoms, 2 * (self.cutoff + margin)):
            second = "brute-force"
            centers = np.random.default_rng(0).choice(len(atoms), SAMPLE, replace=False)
            kept = np.isin(edges.index[1], centers)
            ours = _rows(edges.index[:, kept], edges.shift[kept])
            theirs = _neighbors_of(atoms, centers, self.cutoff + margin)
        else:
            found = neighbor_list(
                atoms.positions, cell, atoms.pbc, self.cutoff + margin, backend=second
            )
            ours = _rows(edges.index, edges.shift)
            theirs = _rows(found.index, found.shift)
        # One search extends somewhat beyond the cutoff, the other ends at it
        certain = self._lengths(atoms, theirs) < self.cutoff - margin
        missing = _difference(theirs[certain], ours)
        surplus = _difference(ours, theirs)
        if len(missing) or len(surplus):
            raise NeighborMismatchError(
                f"the {edges.backend} search finds {len(ours)} pairs within "
                f"{self.cutoff:g} Å, the {second} search {len(theirs)}: "
                f"{_example('lacks', missing)}{_example('has besides', surplus)} "
                "Please report the structure; no results were computed"
            )

    def _lengths(self, atoms: Atoms, rows: Int[np.ndarray, "edges 5"]) -> np.ndarray:
        vectors = atoms.positions[rows[:, 0]] - atoms.positions[rows[:, 1]]
        if atoms.pbc.any():
            vectors += rows[:, 2:] @ atoms.cell.array
        out: np.ndarray = np.linalg.norm(vectors, axis=1)
        return out


def is_unusual(atoms: Atoms, cutoff: float) -> bool:
    """Whether a cell is of a kind with known bugs of neighbor searches.

    These are cells that are thin (an atom has several images of another as neighbors),
    flat, left-handed, or partially periodic.

    Args:
        atoms: Structure.
        cutoff: Cutoff radius in Å.
    """
    pbc: Bool[np.ndarray, " 3"] = atoms.pbc
    if not pbc.any():
        return False
    if not pbc.all():
        return True
    cell = atoms.cell.array
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    lengths = np.linalg.norm(cell, axis=1)
    return bool(
        (heights < 2 * cutoff).any()
        or (heights < MAX_FLAT_RATIO * lengths).any()
        or np.linalg.det(cell) < 0
    )


def _is_wide(atoms: Atoms, width: float) -> bool:
    """Whether the distance of opposite faces exceeds a width, or is not periodic."""
    if not atoms.pbc.any():
        return True
    if not atoms.pbc.all():
        return False
    heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    return bool((heights > width).all())


def _neighbors_of(
    atoms: Atoms, centers: Int[np.ndarray, " centers"], cutoff: float
) -> Int[np.ndarray, "edges 5"]:
    """Edges to some atoms in a cell wider than twice the cutoff, by all distances.

    At most one image of an atom is closer than the cutoff, and its fractional
    coordinates relative to the center are within one half.
    """
    rows = []
    for center in centers.tolist():
        vectors = atoms.positions - atoms.positions[center]
        images = np.zeros((len(atoms), 3), dtype=np.int64)
        if atoms.pbc.all():
            fractional = vectors @ np.linalg.inv(atoms.cell.array)
            images = -np.rint(fractional).astype(np.int64)
            vectors = vectors + images @ atoms.cell.array
        squares = (vectors**2).sum(axis=1)
        near = np.flatnonzero(squares < cutoff**2)
        near = near[near != center]
        receivers = np.full_like(near, center)
        rows.append(np.column_stack([near, receivers, images[near]]))
    return np.concatenate(rows)


def _rows(
    index: Int[np.ndarray, "2 edges"], shift: Int[np.ndarray, "edges 3"]
) -> Int[np.ndarray, "edges 5"]:
    return np.column_stack([index.T, shift])


def _difference(
    ours: Int[np.ndarray, "some 5"], others: Int[np.ndarray, "more 5"]
) -> Int[np.ndarray, "rest 5"]:
    """Rows of the first array that are not in the second."""
    kind = np.dtype((np.void, ours.dtype.itemsize * 5))
    mine, theirs = (
        np.ascontiguousarray(rows).view(kind)[:, 0] for rows in (ours, others)
    )
    return ours[~np.isin(mine, theirs)]


def _example(verb: str, rows: Int[np.ndarray, "some 5"]) -> str:
    if not len(rows):
        return ""
    j, i, *shift = rows[0].tolist()
    return f"the first {verb} {len(rows)}, such as atom {j} in cell {shift} near {i}."
