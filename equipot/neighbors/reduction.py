"""Minkowski reduction: shortest basis of a lattice."""

import itertools

import numpy as np
from jaxtyping import Float64, Int64

MAX_LENGTH_RATIO = 1 - 1e-12
"""Maximum ratio of lengths for a step to count, so that rounding cannot loop."""


def reduce_lattice(
    vectors: Float64[np.ndarray, "periodic 3"],
) -> Int64[np.ndarray, "periodic periodic"]:
    """Integer matrix that maps lattice vectors to a Minkowski-reduced basis.

    Greedy algorithm: sort by length, subtract from each vector the nearest point of the
    lattice of the shorter ones, and repeat until no vector becomes shorter.

    Args:
        vectors: One to three linearly independent vectors in Å, as rows.

    Returns:
        Unimodular matrix T; ``T @ vectors`` are the reduced vectors, shortest first.

    Source:
        P. Q. Nguyen and D. Stehlé, ACM Trans. Algorithms 5, 46 (2009).
    """
    transform = np.eye(len(vectors), dtype=np.int64)
    improved = True
    while improved:
        improved = False
        transform = transform[np.argsort(_squared(transform @ vectors), kind="stable")]
        for k in range(1, len(vectors)):
            candidates = _nearest_candidates(transform, vectors, k)
            squared = _squared(candidates @ vectors)
            best = int(squared.argmin())
            if (
                squared[best]
                < MAX_LENGTH_RATIO * _squared(transform[k : k + 1] @ vectors)[0]
            ):
                transform[k] = candidates[best]
                improved = True
    return transform


def _nearest_candidates(
    transform: Int64[np.ndarray, "periodic periodic"],
    vectors: Float64[np.ndarray, "periodic 3"],
    k: int,
) -> Int64[np.ndarray, "candidates periodic"]:
    """Row k minus candidates for the nearest lattice point of rows 0 to k-1."""
    shorter = transform[:k] @ vectors
    coordinates, *_ = np.linalg.lstsq(shorter.T, transform[k] @ vectors, rcond=None)
    near = np.rint(coordinates).astype(np.int64)
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=k)))
    return transform[k] - (near + steps) @ transform[:k]


def _squared(vectors: Float64[np.ndarray, "count 3"]) -> Float64[np.ndarray, " count"]:
    return (vectors * vectors).sum(axis=1)
