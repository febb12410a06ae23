"""Medians of calls that take turns, so that all of them see the same machine."""

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

FEWEST_ROUNDS = 3
"""Without so many there is no median worth the name."""
SHORTEST_SAMPLE = 5e-3
"""A call that is faster is repeated to last so long, in seconds."""
LONG = 0.2
"""A call that takes so long, in seconds, warms up within itself."""


@dataclass(frozen=True)
class Timing:
    """Times of one call, in seconds."""

    median: float
    """Half of the samples were faster."""
    low: float
    """A quarter of the samples was faster."""
    high: float
    """A quarter of the samples was slower."""
    samples: int
    """How many there were."""


def take_turns(
    calls: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 9,
    seconds: float = math.inf,
) -> dict[str, list[float]]:
    """Time calls round by round; in each round, every call is timed once.

    Each call is made before, to find how often it has to be repeated within a sample.
    In every round a call that is not `LONG` is made once more without being timed: what
    others left in the caches and in the allocator is not its doing.

    Args:
        calls: What to time, by name.
        rounds: Samples of each call, at least `FEWEST_ROUNDS`.
        seconds: No new round starts later than this.

    Returns:
        Samples of each call in seconds, in the order of the rounds.

    Raises:
        ValueError: If there are too few rounds.
    """
    if rounds < FEWEST_ROUNDS:
        raise ValueError(f"expected at least {FEWEST_ROUNDS} rounds, got {rounds}")
    repeats = {name: _repeats(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for done in range(rounds):
            if done >= FEWEST_ROUNDS and time.perf_counter() - start > seconds:
                break
            for name, call in calls.items():
                samples[name].append(_sample(call, repeats[name]))
    finally:
        if enabled:
            gc.enable()
    return samples


def summarize(samples: Sequence[float]) -> Timing:
    """Median and quartiles of samples, at least two."""
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return Timing(median(samples), low, high, len(samples))


def _repeats(call: Callable[[], object]) -> int:
    """How often a call is made within a sample; 0 for one that is long."""
    if _seconds(call, 1) > LONG:
        return 0
    return max(1, math.ceil(SHORTEST_SAMPLE / _seconds(call, 1)))


def _sample(call: Callable[[], object], repeats: int) -> float:
    """Time of a call, in seconds."""
    if repeats == 0:
        return _seconds(call, 1)
    call()
    return _seconds(call, repeats) / repeats


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - start
