"""Margins of the domain of validity.

A simulation is longer than the training set, so its extremes are somewhat larger. The
margins are those of a longer run of the same system; see `docs/trust.md`.
"""

Range = tuple[float, float]
"""Minimum and maximum."""

DISTANCE_MARGIN = 0.05
"""Allowed fraction below the shortest distance of a pair."""
NEIGHBOR_MARGIN = 0.2
"""Allowed fraction beyond the minimum and maximum number of neighbors."""
MIN_NEIGHBOR_MARGIN = 2
"""Lower bound of that margin in neighbors; a minimum above 0 is not lowered to 0."""
DENSITY_MARGIN = 0.1
"""Allowed fraction beyond the minimum and maximum density."""
FORCE_FACTOR = 2.0
"""Allowed ratio to the largest force."""
ENERGY_MARGIN = 0.1
"""Lower bound in eV per atom of the margin, which is the width of the energy range."""
MAX_SCORE = 1.5
"""Maximum extrapolation score."""


def widened_neighbors(extremes: tuple[int, int]) -> tuple[int, int]:
    """Allowed minimum and maximum number of neighbors."""
    low, high = extremes
    fewer = max(MIN_NEIGHBOR_MARGIN, round(NEIGHBOR_MARGIN * low))
    more = max(MIN_NEIGHBOR_MARGIN, round(NEIGHBOR_MARGIN * high))
    return max(low - fewer, min(low, 1)), high + more


def widened_density(extremes: Range) -> Range:
    """Allowed minimum and maximum density."""
    low, high = extremes
    return low * (1 - DENSITY_MARGIN), high * (1 + DENSITY_MARGIN)


def widened_energies(extremes: Range) -> Range:
    """Allowed minimum and maximum energy per atom."""
    low, high = extremes
    margin = max(ENERGY_MARGIN, high - low)
    return low - margin, high + margin
