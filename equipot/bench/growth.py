"""How work and time grow with the highest degree, beside the asymptotic law."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from equipot.bench.measure import Cost
from equipot.bench.steps import STEPS


@dataclass(frozen=True)
class Growth:
    """Powers of lmax by which one backend's cost of one product grows."""

    family: str
    """Title of the family."""
    backend: str
    """Who computes it."""
    limit: int | None
    """Of its operations in the limit of high degrees; None if nobody knows."""
    operations: float | None
    """Of its operations in the range that was measured; None if not counted."""
    times: Mapping[str, float]
    """Of the times of each of `STEPS` in that range."""


def growths(costs: Sequence[Cost]) -> list[Growth]:
    """Growth of every product by every backend, measured for at least two degrees.

    Args:
        costs: Of one number of channels.
    """
    out = []
    for family, backend in dict.fromkeys((c.family, c.backend) for c in costs):
        own = [c for c in costs if (c.family, c.backend) == (family, backend)]
        counted = {c.lmax: c.operations for c in own if c.operations is not None}
        work = {lmax: float(counts.count) for lmax, counts in counted.items()}
        if len(own) < 2:
            continue
        out.append(
            Growth(
                family,
                backend,
                counted[max(counted)].exponent if counted else None,
                exponent(work) if len(work) > 1 else None,
                {s: exponent({c.lmax: c.times[s].median for c in own}) for s in STEPS},
            )
        )
    return out


def exponent(values: Mapping[int, float]) -> float:
    """Power k of the law lmax^k that fits best on logarithmic axes.

    Args:
        values: Positive quantity by lmax, which is positive; at least two.
    """
    x = [math.log(lmax) for lmax in values]
    y = [math.log(value) for value in values.values()]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)
