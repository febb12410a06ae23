"""Directed pairs of atoms and their distances."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True)
class SearchResult:
    """Directed pairs that a search found, in any order.

    `NeighborList` has them sorted and checked, with the structure that they are of.
    """

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
    pairs: SearchResult,
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
    translations = translations_of(shift, cell) if pbc.any() else None
    return lengths_of(positions, index[0], index[1], translations)


def translations_of(
    shift: Int64[np.ndarray, "edges 3"], cell: Float64[np.ndarray, "3 3"]
) -> Float64[np.ndarray, "edges 3"]:
    r"""Translations :math:`S \cdot \mathrm{cell}` in Å.

    The translation of a pair does not depend on the other pairs, and that of the
    reverse pair is its negative bit for bit; a matrix product guarantees neither.
    """
    x, y, z = shift.T[:, :, None]
    translations: Float64[np.ndarray, "edges 3"]
    translations = x * cell[0]
    translations += y * cell[1]
    translations += z * cell[2]
    return translations


def lengths_of(
    positions: Float64[np.ndarray, "atoms 3"],
    senders: Int64[np.ndarray, " edges"],
    receivers: Int64[np.ndarray, " edges"],
    translations: Float64[np.ndarray, "edges 3"] | None,
) -> Float64[np.ndarray, " edges"]:
    """Lengths of pairs in Å; equal bit for bit for a pair and its reverse.

    Args:
        positions: Cartesian coordinates in Å.
        senders: Atoms j.
        receivers: Atoms i.
        translations: Translations of the senders in Å; None if all are zero.
    """
    vectors = positions.take(senders, axis=0)
    vectors -= positions.take(receivers, axis=0)
    if translations is not None:
        vectors += translations
    vectors *= vectors
    squared = vectors[:, 0] + vectors[:, 1]
    squared += vectors[:, 2]
    lengths: Float64[np.ndarray, " edges"] = np.sqrt(squared, out=squared)
    return lengths


def without_self(pairs: SearchResult) -> Bool[np.ndarray, " edges"]:
    """False for pairs (i, i, 0) of an atom with itself, true for all others."""
    return (pairs.sender != pairs.receiver) | pairs.shift.any(axis=1)


def select(pairs: SearchResult, keep: Bool[np.ndarray, " edges"]) -> SearchResult:
    """Select the pairs for which `keep` is true."""
    return SearchResult(pairs.receiver[keep], pairs.sender[keep], pairs.shift[keep])


def concatenate(parts: list[SearchResult]) -> SearchResult:
    """Concatenate pairs; `parts` may be empty."""
    none = np.zeros(0, dtype=np.int64)
    return SearchResult(
        np.concatenate([none, *(part.receiver for part in parts)]),
        np.concatenate([none, *(part.sender for part in parts)]),
        np.concatenate([none.reshape(0, 3), *(part.shift for part in parts)]),
    )
