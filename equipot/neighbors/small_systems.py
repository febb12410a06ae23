"""Neighbor search in many small molecules and crystals by a few array operations.

For each pair of atoms i <= j in a cell folded into fractional coordinates [0, 1), the
translations S of atom j that may bring it within the cutoff r of atom i satisfy

    |f_j + S - f_i| <= r / w    along each lattice vector,

with the distance w of opposite faces of the cell. These are few, and about half of them
are within the cutoff: the volume of a sphere over that of the cube around it.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int64

MARGIN: Final = 1e-6
"""Relative margin of the range of translations against rounding of coordinates."""


@dataclass(frozen=True)
class Systems:
    """Molecules and crystals, one after the other."""

    positions: Float64[np.ndarray, "atoms 3"]
    """Cartesian coordinates of all atoms in Å."""
    counts: Int64[np.ndarray, " systems"]
    """Number of atoms of each system, at least one."""
    cells: Float64[np.ndarray, "systems 3 3"]
    """Linearly independent lattice vectors as rows in Å; any for molecules."""
    periodic: Bool[np.ndarray, " systems"]
    """Whether a system is periodic in all three directions, or in none."""

    @property
    def first(self) -> Int64[np.ndarray, " systems"]:
        """First atom of each system."""
        first: np.ndarray = np.cumsum(self.counts) - self.counts
        return first


@dataclass(frozen=True)
class FoundPairs:
    """Unordered pairs of atoms closer than a cutoff, in the order of the systems."""

    system: Int64[np.ndarray, " pairs"]
    """System of each pair."""
    receiver: Int64[np.ndarray, " pairs"]
    """Atoms i, numbered through all systems."""
    sender: Int64[np.ndarray, " pairs"]
    """Atoms j >= i."""
    shift: Int64[np.ndarray, "pairs 3"]
    """Lattice translations S of atoms j."""
    distances: Float64[np.ndarray, " pairs"]
    """Lengths in Å."""


def search_small(systems: Systems, cutoff: float) -> FoundPairs:
    """Find all pairs closer than the cutoff, each in one of its two directions.

    Args:
        systems: One or more systems; the memory is proportional to the sum of the
            squares of their numbers of atoms, times the images within the cutoff.
        cutoff: Cutoff radius in Å; pairs at exactly this distance are excluded.
    """
    owner, receiver, sender = _pairs_of_atoms(systems)
    once, shift = sender > receiver, None
    if systems.periodic.any():
        lowest, number, fold = _translations(systems, owner, receiver, sender, cutoff)
        pair, shift = _expand(lowest, number)
        owner, receiver, sender = owner[pair], receiver[pair], sender[pair]
        once = once[pair] | _is_positive(shift)
        shift += fold.take(receiver, axis=0)
        shift -= fold.take(sender, axis=0)
    squared = _squared_distances(systems, owner, receiver, sender, shift)
    near = np.flatnonzero(once & (squared < cutoff * cutoff))
    return FoundPairs(
        owner[near],
        receiver[near],
        sender[near],
        np.zeros((len(near), 3), int) if shift is None else shift.take(near, axis=0),
        np.sqrt(squared[near]),
    )


def _pairs_of_atoms(
    systems: Systems,
) -> tuple[
    Int64[np.ndarray, " pairs"],
    Int64[np.ndarray, " pairs"],
    Int64[np.ndarray, " pairs"],
]:
    """System, receiver and sender of all pairs i <= j within a system."""
    counts = systems.counts
    owner = np.repeat(np.arange(len(counts)), counts * (counts + 1) // 2)
    receiver, sender = np.concatenate([_triangle(n) for n in counts.tolist()], axis=1)
    first = systems.first[owner]
    return owner, receiver + first, sender + first


@lru_cache(maxsize=256)
def _triangle(count: int) -> Int64[np.ndarray, "2 pairs"]:
    """All i <= j below a number."""
    return np.stack(np.triu_indices(count))


def _translations(
    systems: Systems,
    owner: Int64[np.ndarray, " pairs"],
    receiver: Int64[np.ndarray, " pairs"],
    sender: Int64[np.ndarray, " pairs"],
    cutoff: float,
) -> tuple[
    Int64[np.ndarray, "pairs 3"],
    Int64[np.ndarray, "pairs 3"],
    Int64[np.ndarray, "atoms 3"],
]:
    """Lowest translation and number of translations of each pair, and folds of atoms.

    Those of molecules are zero, one, and zero.
    """
    of_atom = np.repeat(np.arange(len(systems.counts)), systems.counts)
    inverse = np.zeros_like(systems.cells)
    inverse[systems.periodic] = np.linalg.inv(systems.cells[systems.periodic])
    fractional = np.einsum("ax,axk->ak", systems.positions, inverse[of_atom])
    fold = np.floor(fractional)
    fractional -= fold
    # one over the distances between opposite faces; zero for molecules
    reach = cutoff * (1 + MARGIN) * np.linalg.norm(inverse, axis=1)
    apart = fractional.take(sender, axis=0) - fractional.take(receiver, axis=0)
    around = reach.take(owner, axis=0)
    lowest = np.ceil(-around - apart).astype(np.int64)
    highest = np.floor(around - apart).astype(np.int64)
    return lowest, np.maximum(highest - lowest + 1, 0), fold.astype(np.int64)


def _expand(
    lowest: Int64[np.ndarray, "pairs 3"], number: Int64[np.ndarray, "pairs 3"]
) -> tuple[Int64[np.ndarray, " candidates"], Int64[np.ndarray, "candidates 3"]]:
    """Pair and translation of each candidate."""
    total = number.prod(axis=1)
    pair = np.repeat(np.arange(len(total)), total)
    rest = np.arange(len(pair)) - (np.cumsum(total) - total)[pair]
    shift = lowest.take(pair, axis=0)
    for axis in (2, 1):
        number_here = number[:, axis].take(pair)
        above = rest // number_here
        shift[:, axis] += rest - above * number_here
        rest = above
    shift[:, 0] += rest
    return pair, shift


def _is_positive(
    shift: Int64[np.ndarray, "candidates 3"],
) -> Bool[np.ndarray, " candidates"]:
    """Whether the first component that is not zero is positive."""
    x, y, z = shift.T
    return (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))


def _squared_distances(
    systems: Systems,
    owner: Int64[np.ndarray, " pairs"],
    receiver: Int64[np.ndarray, " pairs"],
    sender: Int64[np.ndarray, " pairs"],
    shift: Int64[np.ndarray, "pairs 3"] | None,
) -> Float64[np.ndarray, " pairs"]:
    """Squared lengths in Å^2; without translations for molecules."""
    squared = np.zeros(len(owner))
    cells = np.where(systems.periodic[:, None, None], systems.cells, 0.0)
    for axis in range(3):
        coordinate = systems.positions[:, axis]
        component = coordinate.take(sender) - coordinate.take(receiver)
        if shift is not None:
            for vector in range(3):
                component += shift[:, vector] * cells[:, vector, axis].take(owner)
        squared += component * component
    return squared
