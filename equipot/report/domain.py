"""Distance of structures from what a potential was fitted to."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from equipot.data.pairs import overall_minimum


def closeness(
    closest: Sequence[Mapping[str, float]], limits: Mapping[str, float]
) -> Float[np.ndarray, " structures"]:
    """How close atoms come compared with training.

    Args:
        closest: Shortest distances of each structure by pair of elements.
        limits: Shortest distances of the training set.

    Returns:
        The smallest ratio of a distance to its limit. Below one, atoms are closer than
        the potential has seen. NaN where no pair has a limit.
    """
    ratios = (
        [distances[pair] / limits[pair] for pair in distances if pair in limits]
        for distances in closest
    )
    return np.array([min(r, default=np.nan) for r in ratios], dtype=float)


def unseen_pairs(
    closest: Sequence[Mapping[str, float]], limits: Mapping[str, float]
) -> tuple[str, ...]:
    """Pairs of elements that are neighbors here and never were in training."""
    return tuple(pair for pair in overall_minimum(closest) if pair not in limits)
