"""Fingerprints of structures, invariant to translation, rotation and permutation."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

CENTERS = np.linspace(np.log(0.6), np.log(20.0), 20)
WIDTH = CENTERS[1] - CENTERS[0]
PROJECTION = np.random.default_rng(0).normal(size=(2, len(CENTERS))) / 4


def fingerprint(
    vectors: Float[ndarray, "edges 3"],
    edge_index: Int[ndarray, "2 edges"],
    numbers: Int[ndarray, " atoms"],
    cutoff: float,
) -> Float[ndarray, " numbers"]:
    """Smooth histograms of distances, and one sorted invariant per atom.

    The histogram of the neighbors of each atom, weighted by their elements, is
    projected on a fixed direction; then the values of the neighbors are mixed in.
    Invariant to translations, rotations, reflections and permutations, and
    continuous: displacing atoms by 1e-5 Å changes it by about 1e-4. Different
    orderings of elements on one ideal lattice may have equal fingerprints.

    Args:
        vectors: Edge vectors in Å.
        edge_index: Senders and receivers.
        numbers: Atomic numbers.
        cutoff: Radius in Å at which the weights of edges go to zero.

    Returns:
        Fingerprint, comparable between structures of equal composition.
    """
    senders, receivers = edge_index
    distance = np.linalg.norm(vectors, axis=1)
    fade = (1 - np.minimum(distance / cutoff, 1.0) ** 2) ** 2
    x = (np.log(np.maximum(distance, 1e-3))[:, None] - CENTERS) / WIDTH
    bumps = np.exp(-(x**2) / 2) * fade[:, None]
    element = np.sin(7.0 * numbers + 0.3 * numbers**1.5)
    first, second = (bumps @ PROJECTION.T).T
    kind = element[senders]
    own = element + _sum_over_edges(first + second * kind, receivers, len(numbers))
    near = _sum_over_edges(fade * np.sin(2 * own[senders]), receivers, len(numbers))
    weights = np.stack([np.ones(len(distance)), element[senders] + element[receivers]])
    histograms = (weights @ bumps).reshape(-1) / len(numbers)
    shape = np.linalg.eigvalsh(orientation(vectors, cutoff))  # shear, to first order
    return np.concatenate([histograms, 5 * shape, np.sort(own + 0.3 * near)])


def orientation(
    vectors: Float[ndarray, "edges 3"], cutoff: float
) -> Float[ndarray, "3 3"]:
    """Mean outer product of edge directions; distinguishes rotated copies.

    Args:
        vectors: Edge vectors in Å.
        cutoff: Radius in Å at which the weights of edges go to zero.

    Returns:
        Symmetric matrix; zero without edges.
    """
    distance = np.linalg.norm(vectors, axis=1)
    fade = (1 - np.minimum(distance / cutoff, 1.0) ** 2) ** 2
    scaled = vectors * np.sqrt(fade)[:, None] / np.maximum(distance, 1e-3)[:, None]
    return scaled.T @ scaled / max(len(vectors), 1)


def _sum_over_edges(
    values: Float[ndarray, " edges"], receivers: Int[ndarray, " edges"], num_atoms: int
) -> Float[ndarray, " atoms"]:
    # np.bincount returns integers for empty input, even with weights
    return np.bincount(receivers, weights=values, minlength=num_atoms).astype(float)
