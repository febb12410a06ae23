"""Brute-force neighbor search, the reference for all other searches."""

import numpy as np
from jaxtyping import Bool, Float64, Int64

from equipot.neighbors.pairs import (
    Pairs,
    closer_than,
    concatenate,
    select,
    without_self,
)


def search_brute_force(
    positions: Float64[np.ndarray, "atoms 3"],
    cell: Float64[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, " 3"],
    cutoff: float,
) -> Pairs:
    """Find all directed pairs closer than the cutoff, including images of an atom.

    The implementation is independent of the other searches: the cell is neither
    completed nor reduced, and there are no bins. The cost is quadratic in the number of
    atoms.

    Args:
        positions: Coordinates in Å.
        cell: Lattice vectors as rows in Å; rows of non-periodic directions are ignored.
        pbc: Periodicity along each lattice vector; periodic ones are independent.
        cutoff: Cutoff radius in Å.

    Returns:
        Pairs, with shifts in terms of the cell.
    """
    vectors = cell[pbc]
    fractional = positions @ np.linalg.pinv(vectors)
    fold = np.zeros((len(positions), 3), dtype=np.int64)
    fold[:, pbc] = np.floor(fractional)
    folded = positions - fold[:, pbc] @ vectors
    # A translation is at most as long as the cutoff plus the extent of the atoms
    inside = (fractional - np.floor(fractional)) @ vectors
    diagonal = float(np.linalg.norm(np.ptp(inside, axis=0)))
    translations = lattice_points(vectors, 1.001 * (cutoff + diagonal))
    image = np.zeros((len(translations), 3), dtype=np.int64)
    image[:, pbc] = translations
    ghosts = (folded[:, None] + translations @ vectors).reshape(-1, 3)
    margin = 1.001 * cutoff + 1e-3
    low, high = folded.min(axis=0) - margin, folded.max(axis=0) + margin
    in_reach = np.flatnonzero(((low <= ghosts) & (ghosts <= high)).all(axis=1))
    ghosts = ghosts[in_reach]

    parts = []
    for i in range(len(positions)):
        near = in_reach[((ghosts - folded[i]) ** 2).sum(axis=1) < margin**2]
        sender, translation = np.divmod(near, len(image))
        shift = image[translation] + fold[i] - fold[sender]
        pairs = Pairs(np.full_like(sender, i), sender, shift)
        keep = closer_than(cutoff, positions, cell, pairs) & without_self(pairs)
        parts.append(select(pairs, keep))
    return concatenate(parts)


def lattice_points(
    vectors: Float64[np.ndarray, "periodic 3"], radius: float
) -> Int64[np.ndarray, "points periodic"]:
    """Integer coordinates of all lattice points within `radius` of the origin.

    With ``vectors = L @ Q`` and L lower triangular, the last component of ``n @ L``
    depends on the last coordinate only, the one before on the last two, and so on. Each
    component is at most the radius, which bounds the coordinates one after another for
    cells of any shape.

    Args:
        vectors: Linearly independent lattice vectors as rows in Å.
        radius: Radius in Å.

    Returns:
        These points, and possibly further ones up to sqrt(3) times as far.
    """
    lower = np.linalg.qr(vectors.T)[1].T
    points = np.zeros((1, len(vectors)), dtype=np.int64)
    for k in reversed(range(len(vectors))):
        center = -(points @ lower[:, k]) / lower[k, k]
        reach = radius / abs(lower[k, k])
        low = np.floor(center - reach).astype(np.int64)
        count = np.ceil(center + reach).astype(np.int64) - low + 1
        row = np.repeat(np.arange(len(points)), count)
        position = np.arange(len(row)) - (np.cumsum(count) - count)[row]
        points = points[row]
        points[:, k] = low[row] + position
    return points
