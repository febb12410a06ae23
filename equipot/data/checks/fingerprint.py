"""Numbers that equal structures share, whatever the order of atoms and the place."""

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
    """Smooth histograms of distances, and a number for each atom, sorted.

    The histogram of the neighbors of an atom, weighted by their elements, is projected
    on a fixed direction; then the numbers of the neighbors are mixed in. Invariant to
    translations, rotations, reflections and permutations, and continuous: moving atoms
    by 1e-5 Å changes it by some 1e-4. Different orderings of elements on one ideal
    lattice may share it.

    Args:
        vectors: Edge vectors in Å.
        edge_index: Senders and receivers.
        numbers: Atomic numbers.
        cutoff: Radius in Å of the edges, towards which they fade out.

    Returns:
        The numbers, to be compared between structures of one composition.
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
    """Mean of the direction of edges times itself: tells rotated copies from true ones.

    Args:
        vectors: Edge vectors in Å.
        cutoff: Radius in Å of the edges, towards which they fade out.

    Returns:
        A symmetric matrix; zero without edges.
    """
    distance = np.linalg.norm(vectors, axis=1)
    fade = (1 - np.minimum(distance / cutoff, 1.0) ** 2) ** 2
    scaled = vectors * np.sqrt(fade)[:, None] / np.maximum(distance, 1e-3)[:, None]
    return scaled.T @ scaled / max(len(vectors), 1)


def _sum_over_edges(
    values: Float[ndarray, " edges"], receivers: Int[ndarray, " edges"], num_atoms: int
) -> Float[ndarray, " atoms"]:
    # Without edges NumPy counts in integers, whatever the weights
    return np.bincount(receivers, weights=values, minlength=num_atoms).astype(float)
