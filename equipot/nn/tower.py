"""Split of channels per degree into towers of the same degrees."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Tower(NamedTuple):
    """Channels that exist in the same degrees."""

    lmax: int
    """Highest of these degrees; the lowest is 0."""
    start: int
    """First channel."""
    stop: int
    """First channel that is not of this tower."""

    @property
    def width(self) -> int:
        """Number of channels."""
        return self.stop - self.start


def towers_of(channels: Sequence[int]) -> tuple[Tower, ...]:
    """Towers of features, those of the highest degree first.

    128, 64 and 32 channels of degrees 0, 1 and 2 are 32 channels to degree 2, further
    32 to degree 1, and 64 scalars.

    Args:
        channels: Number of channels of each degree, positive, not increasing.

    Raises:
        ValueError: If it increases with the degree, or is not positive.
    """
    if not channels or min(channels) < 1 or list(channels) != sorted(channels)[::-1]:
        raise ValueError(
            "channels per degree must be positive and must not increase with the "
            f"degree, got {list(channels)}"
        )
    bounds = pairwise([0, *sorted(set(channels))])
    return tuple(
        Tower(sum(count >= stop for count in channels) - 1, start, stop)
        for start, stop in bounds
    )
