"""Linear-scaling cell-list search in NumPy, the alternative to vesin.

Atoms are sorted into bins at least as wide as the cutoff, and bins around each atom are
found by bisection. No array has the size of the grid, so vacuum has no cost.
"""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Int64

from equipot.neighbors.cell import SearchBox
from equipot.neighbors.pairs import (
    Pairs,
    closer_than,
    concatenate,
    select,
    without_self,
)

MAX_BINS = 2**20
"""Maximum number of bins per axis, so that bin indices fit into 63 bits."""
MAX_CANDIDATES = 2**20
"""Maximum number of pairs compared at a time, which limits the memory."""
RADIUS_MARGIN = 1e-6
"""Relative margin of the bin width against rounding of coordinates."""


def search_cells(box: SearchBox, cutoff: float) -> Pairs:
    """Find all directed pairs closer than the cutoff, including images of an atom.

    Args:
        box: One or more atoms in a fully periodic cell.
        cutoff: Cutoff radius in Å.

    Returns:
        Pairs, with shifts in terms of the original lattice vectors.
    """
    reach = cutoff * (1 + RADIUS_MARGIN)
    bins = np.array(
        [min(max(1, int(width / reach)), MAX_BINS) for width in box.thickness]
    )
    offsets = _offsets(
        [
            math.ceil(reach * n / width)
            for n, width in zip(bins.tolist(), box.thickness, strict=True)
        ]
    )
    fractional = box.positions @ box.inverse
    fold = np.floor(fractional).astype(np.int64)
    place = np.minimum(((fractional - fold) * bins).astype(np.int64), bins - 1)
    key = _number(place, bins)
    order = np.argsort(key, kind="stable")
    occupied, start, count = np.unique(
        key[order], return_index=True, return_counts=True
    )

    step = max(1, MAX_CANDIDATES // (len(offsets) * int(count.max())))
    parts = []
    for first in range(0, len(key), step):
        centers = np.arange(first, min(first + step, len(key)))
        target = (place[centers, None] + offsets).reshape(-1, 3)
        image = target // bins
        wanted = _number(target - image * bins, bins)
        slot = np.minimum(np.searchsorted(occupied, wanted), len(occupied) - 1)
        found = np.flatnonzero(occupied[slot] == wanted)
        row, position = _expand(start[slot[found]], count[slot[found]])
        receiver = centers[found[row] // len(offsets)]
        sender = order[position]
        shift = image[found[row]] + fold[receiver] - fold[sender]
        pairs = Pairs(receiver, sender, shift)
        keep = closer_than(cutoff, box.positions, box.cell, pairs) & without_self(pairs)
        parts.append(select(pairs, keep))
    pairs = concatenate(parts)
    return replace(pairs, shift=box.original_shift(pairs.shift))


def _offsets(reach: list[int]) -> Int64[np.ndarray, "offsets 3"]:
    """All integer vectors within `reach` of the origin along each axis."""
    grid = np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, 3)


def _number(
    place: Int64[np.ndarray, "places 3"], bins: Int64[np.ndarray, " 3"]
) -> Int64[np.ndarray, " places"]:
    """Index of each bin."""
    return (place[:, 0] * bins[1] + place[:, 1]) * bins[2] + place[:, 2]


def _expand(
    start: Int64[np.ndarray, " rows"], count: Int64[np.ndarray, " rows"]
) -> tuple[Int64[np.ndarray, " members"], Int64[np.ndarray, " members"]]:
    """Row k and values ``start[k]`` to ``start[k] + count[k] - 1``, for all rows."""
    row = np.repeat(np.arange(len(count)), count)
    before = np.cumsum(count) - count
    return row, np.arange(len(row)) + (start - before)[row]
