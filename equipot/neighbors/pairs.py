"""Directed pairs of atoms and their distances."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True)
class Pairs:
    """Unsorted result of a neighbor search."""

    receiver: Int64[np.ndarray, " edges"]
    """Atoms i, from which edge vectors start."""
    sender: Int64[np.ndarray, " edges"]
    """Atoms j, at whose images edge vectors end."""
    shift: Int64[np.ndarray, "edges 3"]
    """Lattice translations S of the senders."""


def closer_than(
    cutoff: float,
    positions: Float64[np.ndarray, "atoms 3"],
    cell: Float64[np.ndarray, "3 3"],
    pairs: Pairs,
) -> Bool[np.ndarray, " edges"]:
    r"""Select pairs with :math:`|r_j - r_i + S \cdot \mathrm{cell}|` below the cutoff.

    All terms are antisymmetric in the direction of the pair and evaluated without
    fused operations, so the results for (i, j, S) and (j, i, -S) are equal bit for bit.
    A matrix product does not guarantee this.

    Args:
        cutoff: Cutoff radius in Å; pairs at exactly this distance are excluded.
        positions: Cartesian coordinates in Å.
        cell: Lattice vectors as rows in Å.
        pairs: Candidate pairs.

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
        pbc: Periodicity along each lattice vector.
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


def without_self(pairs: Pairs) -> Bool[np.ndarray, " edges"]:
    """False for pairs (i, i, 0) of an atom with itself, true for all others."""
    return (pairs.sender != pairs.receiver) | pairs.shift.any(axis=1)


def select(pairs: Pairs, keep: Bool[np.ndarray, " edges"]) -> Pairs:
    """Select the pairs for which `keep` is true."""
    return Pairs(pairs.receiver[keep], pairs.sender[keep], pairs.shift[keep])


def concatenate(parts: list[Pairs]) -> Pairs:
    """Concatenate pairs; `parts` may be empty."""
    none = np.zeros(0, dtype=np.int64)
    return Pairs(
        np.concatenate([none, *(part.receiver for part in parts)]),
        np.concatenate([none, *(part.sender for part in parts)]),
        np.concatenate([none.reshape(0, 3), *(part.shift for part in parts)]),
    )
