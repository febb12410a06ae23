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
"""Evaluations between checks in cells where neighbor lists have been wrong before."""
BRUTE_FORCE_ATOMS = 300
CUTOFF_TOLERANCE = 1e-9
"""Å about the cutoff within which rounding decides whether two atoms are a pair."""
ROUNDING = 1e-14
"""The same for atoms far from the origin, of the largest coordinate."""
MAX_FLAT_RATIO = 0.5
"""Height of a cell over the length of its vector below which it is flat."""


class NeighborMismatchError(CalculationFailed):
    """Two searches for neighbors do not find the same pairs."""


@dataclass(frozen=True)
class SelfCheck:
    """When neighbors are searched a second time, and compared.

    Args:
        cutoff: Radius in Å.
        every: Evaluations between comparisons, the first one included; "never", or
            "auto": the first one, and in unusual cells every hundredth.

    Raises:
        ValueError: If it is none of these.
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
        """Whether to compare now.

        Args:
            atoms: The structure.
            evaluation: Evaluations before this one.
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
        """Search again, in another way.

        Args:
            atoms: The structure.
            edges: Its neighbor list.

        Raises:
            NeighborMismatchError: If the other search finds other pairs.
        """
        cell = atoms.cell.array
        second = "cells"
        if edges.backend == "cells" or len(atoms) <= BRUTE_FORCE_ATOMS:
            second = "brute_force"
        margin = CUTOFF_TOLERANCE + ROUNDING * float(
            np.abs(atoms.positions).max(initial=0.0)
        )
        found = neighbor_list(
            atoms.positions, cell, atoms.pbc, self.cutoff + margin, backend=second
        )
        ours = _rows(edges.index, edges.shift)
        theirs = _rows(found.index, found.shift)
        # One search is complete somewhat beyond the cutoff, the other up to it.
        certain = self._lengths(atoms, theirs) < self.cutoff - margin
        missing = _difference(theirs[certain], ours)
        surplus = _difference(ours, theirs)
        if len(missing) or len(surplus):
            raise NeighborMismatchError(
                f"the {edges.backend} search finds {len(ours)} pairs within "
                f"{self.cutoff:g} Å, the {second} search {len(theirs)}: "
                f"{_example('lacks', missing)}{_example('has besides', surplus)} "
                "Please report the structure; nothing was calculated"
            )

    def _lengths(self, atoms: Atoms, rows: Int[np.ndarray, "edges 5"]) -> np.ndarray:
        vectors = atoms.positions[rows[:, 0]] - atoms.positions[rows[:, 1]]
        if atoms.pbc.any():
            vectors += rows[:, 2:] @ atoms.cell.array
        out: np.ndarray = np.linalg.norm(vectors, axis=1)
        return out


def is_unusual(atoms: Atoms, cutoff: float) -> bool:
    """Whether a cell is of a kind that programs have found wrong neighbors in.

    That is a cell which is thin, so that an atom is the neighbor of an atom more than
    once, or flat, or left-handed, or repeats along some directions only.

    Args:
        atoms: The structure.
        cutoff: Radius in Å.
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


def _rows(
    index: Int[np.ndarray, "2 edges"], shift: Int[np.ndarray, "edges 3"]
) -> Int[np.ndarray, "edges 5"]:
    return np.column_stack([index.T, shift])


def _difference(
    ours: Int[np.ndarray, "some 5"], others: Int[np.ndarray, "more 5"]
) -> Int[np.ndarray, "rest 5"]:
    """Rows of the first that the second has not."""
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
