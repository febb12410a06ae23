"""Scaling of operations and times with the highest degree, and the asymptotic law."""

import math
from collections.abc import Mapping, Sequence
from statistics import linear_regression

from equipot.bench.measure import Cost
from equipot.bench.steps import STEPS
from equipot.bench.table import Row


def scaling(costs: Sequence[Cost]) -> list[Row]:
    """Exponents of lmax for each product and backend with at least two degrees.

    Args:
        costs: Of one number of channels.
    """
    rows: list[Row] = []
    for family, backend in dict.fromkeys((c.family, c.backend) for c in costs):
        own = [c for c in costs if (c.family, c.backend) == (family, backend)]
        if len(own) < 2:
            continue
        counted = {c.lmax: c.operations for c in own if c.operations is not None}
        work = {lmax: float(found.count) for lmax, found in counted.items()}
        rows.append(
            {
                "product": family,
                "backend": backend,
                "asymptotic": counted[max(counted)].exponent if counted else None,
                "operations": exponent(work) if len(work) > 1 else None,
                **{
                    s: exponent({c.lmax: c.times[s].median for c in own}) for s in STEPS
                },
            }
        )
    return rows


def exponent(values: Mapping[int, float]) -> float:
    """Power k of the law lmax^k that fits best on logarithmic axes.

    Args:
        values: Positive quantity by lmax, which is positive; at least two.
    """
    logarithms = [(math.log(lmax), math.log(value)) for lmax, value in values.items()]
    return linear_regression(*zip(*logarithms, strict=True)).slope
