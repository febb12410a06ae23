"""Margins of the domain of validity.

A simulation is longer than the training set, so its extremes lie somewhat beyond. The
margins are those of a longer run of the same kind; see `docs/trust.md`.
"""

Range = tuple[float, float]
"""Lowest and highest value."""

DISTANCE_MARGIN = 0.05
"""By what fraction a distance may be below the shortest one of its pair."""
NEIGHBOR_MARGIN = 0.2
"""By what fraction a number of neighbors may be beyond the extremes, but at least:"""
FEWEST_NEIGHBORS_MORE = 2
"""so many neighbors; an atom that always had some must keep one."""
DENSITY_MARGIN = 0.1
"""By what fraction a density may be beyond the extremes."""
FORCE_FACTOR = 2.0
"""Times the largest force."""
ENERGY_MARGIN = 0.1
"""eV per atom beyond the extremes, but at least their distance from each other."""
LARGEST_SCORE = 1.5
"""Extrapolation score."""


def widened_neighbors(extremes: tuple[int, int]) -> tuple[int, int]:
    """Fewest and most neighbors that are allowed."""
    low, high = extremes
    fewer = max(FEWEST_NEIGHBORS_MORE, round(NEIGHBOR_MARGIN * low))
    more = max(FEWEST_NEIGHBORS_MORE, round(NEIGHBOR_MARGIN * high))
    return max(low - fewer, min(low, 1)), high + more


def widened_density(extremes: Range) -> Range:
    """Lowest and highest density that are allowed."""
    low, high = extremes
    return low * (1 - DENSITY_MARGIN), high * (1 + DENSITY_MARGIN)


def widened_energies(extremes: Range) -> Range:
    """Lowest and highest energy per atom that are allowed."""
    low, high = extremes
    margin = max(ENERGY_MARGIN, high - low)
    return low - margin, high + margin
