"""Directed pairs of atoms, their distances, and which are closer than a cutoff."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True)
class SearchResult:
    """Directed pairs that a search found, in any order.

    `NeighborList` has them sorted and checked, with the structure that they are of.
    """

    receiver: Int64[np.ndarray, " edges"]
    """Atoms i that edges start from."""
    sender: Int64[np.ndarray, " edges"]
    """Atoms j whose images edges end at."""
    shift: Int64[np.ndarray, "edges 3"]
    """Lattice translations S of the senders."""


def closer_than(
    cutoff: float,
    positions: Float64[np.ndarray, "atoms 3"],
    cell: Float64[np.ndarray, "3 3"],
    pairs: SearchResult,
) -> Bool[np.ndarray, " edges"]:
    r"""Which pairs have :math:`|r_j - r_i + S \cdot \mathrm{cell}|` below the cutoff.

    Every term changes sign with the direction of the pair and none is fused with
    another: the answer for (i, j, S) and (j, i, -S) is the same to the last bit. A
    matrix product would not promise that.

    Args:
        cutoff: Radius in Å; a pair at this distance is not closer.
        positions: Cartesian coordinates in Å.
        cell: Lattice vectors as rows in Å.
        pairs: Candidates.

    Returns:
        One boolean per pair.
    """
    squared = np.zeros(len(pairs.sender))
    for axis in range(3):
        coordinate = positions[:, axis]
        component = coordinate[pairs.sender] - coordinate[pairs.receiver]
        translation = pairs.shift[:, 0] * cell[0, axis]
        translation += pairs.shift[:, 1] * cell[1, axis]
        translation += pairs.shift[:, 2] * cell[2, axis]
        component += translation
        squared += component * component
    return squared < cutoff * cutoff


def pair_distances(
    positions: Float64[np.ndarray, "atoms 3"],
    cell: Float64[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, " 3"],
    index: Int64[np.ndarray, "2 edges"],
    shift: Int64[np.ndarray, "edges 3"],
) -> Float64[np.ndarray, " edges"]:
    r"""Lengths :math:`|r_j - r_i + S \cdot \mathrm{cell}|` in Å.

    Args:
        positions: Cartesian coordinates in Å.
        cell: Lattice vectors as rows in Å.
        pbc: Which of the three directions repeat.
        index: Senders j and receivers i.
        shift: Lattice translations S of the senders.
    """
    senders, receivers = index
    vectors = positions[senders] - positions[receivers]
    if pbc.any():
        vectors += shift @ cell
    distances: Float64[np.ndarray, " edges"]
    distances = np.sqrt((vectors * vectors).sum(axis=1))
    return distances


def without_self(pairs: SearchResult) -> Bool[np.ndarray, " edges"]:
    """False for the pairs (i, i, 0) of an atom with itself, true for all others."""
    return (pairs.sender != pairs.receiver) | pairs.shift.any(axis=1)


def select(pairs: SearchResult, keep: Bool[np.ndarray, " edges"]) -> SearchResult:
    """The pairs that `keep` marks."""
    return SearchResult(pairs.receiver[keep], pairs.sender[keep], pairs.shift[keep])


def concatenate(parts: list[SearchResult]) -> SearchResult:
    """All pairs of all parts; `parts` may be empty."""
    none = np.zeros(0, dtype=np.int64)
    return SearchResult(
        np.concatenate([none, *(part.receiver for part in parts)]),
        np.concatenate([none, *(part.sender for part in parts)]),
        np.concatenate([none.reshape(0, 3), *(part.shift for part in parts)]),
    )
