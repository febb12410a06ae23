"""Median times of calls that are measured in turn, so that all see the same machine."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from timeit import Timer
from typing import TypeVar

from torch.utils.benchmark import timer as synchronized_clock

Name = TypeVar("Name")
MIN_ROUNDS = 3
"""Fewest samples of which a median is taken."""
SAMPLE_SECONDS = 5e-3
"""A shorter call is repeated until a sample takes this time."""
LONG_CALL_SECONDS = 0.2
"""A call that takes longer needs no warm-up call in every round."""


@dataclass(frozen=True)
class Timing:
    """Times of one call in seconds."""

    median: float
    low: float
    """Lower quartile."""
    high: float
    """Upper quartile."""
    samples: int
    """Number of samples."""


def interleaved_times(
    calls: Mapping[Name, Callable[[], object]],
    *,
    rounds: int = 9,
    seconds: float = math.inf,
) -> dict[Name, list[float]]:
    """Time calls round by round; in each round, every call is timed once.

    Two calls in advance determine the repeats of a sample. In every round, short calls
    are made once before the clock starts, to fill the caches. Garbage collection is
    off; a GPU is synchronized before the clock is read.

    Args:
        calls: Calls by name.
        rounds: Samples of each call, at least `MIN_ROUNDS`.
        seconds: No round beyond `MIN_ROUNDS` starts later than this.

    Returns:
        Samples of each call in seconds, in the order of the rounds.

    Raises:
        ValueError: If there are too few rounds.
    """
    if rounds < MIN_ROUNDS:
        raise ValueError(f"expected at least {MIN_ROUNDS} rounds, got {rounds}")
    timers = {
        name: Timer(call, timer=synchronized_clock) for name, call in calls.items()
    }
    repeats = {name: _repeats(timer) for name, timer in timers.items()}
    samples: dict[Name, list[float]] = {name: [] for name in calls}
    start = time.monotonic()
    for done in range(rounds):
        if done >= MIN_ROUNDS and time.monotonic() - start > seconds:
            break
        for name, timer in timers.items():
            if repeats[name] > 0:
                calls[name]()
            count = max(repeats[name], 1)
            samples[name].append(timer.timeit(count) / count)
    return samples


def summarize(samples: Sequence[float]) -> Timing:
    """Median and quartiles of at least two samples."""
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return Timing(median(samples), low, high, len(samples))


def _repeats(timer: Timer) -> int:
    """Calls within a sample; 0 for one long call without warm-up."""
    if timer.timeit(1) > LONG_CALL_SECONDS:
        return 0
    return max(1, math.ceil(SAMPLE_SECONDS / timer.timeit(1)))
