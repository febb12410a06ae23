"""Functions of the length of an edge as uniform quintic B-splines."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int
from scipy.interpolate import make_interp_spline
from torch import Tensor

DEGREE = 5
SHORTEST = 0.3
"""Length in Å from which on functions are tabulated."""
FEWEST, MOST = 64, 2048
"""Intervals of all segments together."""
INSIDE = 1e-12
"""Relative distance from the end of a segment at which derivatives are taken: the
function may have a discontinuity there."""

Function = Callable[
    [Float64[Tensor, "lengths 1"]], Float64[Tensor, "lengths tables columns"]
]
"""Functions of the length of all tables."""


class SplineTable(NamedTuple):
    """Tabulated functions."""

    segments: Float64[Tensor, "segments 3"]
    """Start and stop in Å and number of intervals of each segment."""
    coefficients: Float64[Tensor, "tables rows columns"]
    """Of B-splines; those of a segment are five more than its intervals."""
    pairs: Int[Tensor, "elements elements"] | None
    """Table of each pair of elements; None if there is one table."""
    error: float
    """Largest error of a slope halfway between knots, relative to the largest slope."""

    @property
    def num_intervals(self) -> int:
        """Intervals of all segments together."""
        return int(self.segments[:, 2].sum())


class InaccurateTableError(ValueError):
    """Functions cannot be tabulated as accurately as requested."""


def tabulate(
    function: Function,
    bounds: Sequence[float],
    tolerance: float,
    pairs: Int[Tensor, "elements elements"] | None = None,
    fewest: int = FEWEST,
) -> SplineTable:
    """Tabulate functions with as many intervals as a tolerance needs.

    Args:
        function: Functions of all tables.
        bounds: Ends of the segments in Å, ascending: functions are smooth in between.
        tolerance: For `SplineTable.error`.
        pairs: Table of each pair of elements.
        fewest: Number of intervals to start with, such as that of similar functions.

    Raises:
        InaccurateTableError: If the tolerance is not reached.
    """
    total = fewest
    while True:
        table = _with_intervals(function, bounds, total, pairs)
        if table.error <= tolerance:
            return table
        if total >= MOST:
            raise InaccurateTableError(
                f"radial functions in {total} intervals have errors of "
                f"{table.error:.1e} of the largest slope, more than {tolerance:.1e}"
            )
        total = total * 3 // 2


def _with_intervals(
    function: Function,
    bounds: Sequence[float],
    total: int,
    pairs: Int[Tensor, "elements elements"] | None,
) -> SplineTable:
    length = bounds[-1] - bounds[0]
    segments = [
        (start, stop, max(8, round(total * (stop - start) / length)))
        for start, stop in pairwise(bounds)
    ]
    fits = [_fit(function, *segment) for segment in segments]
    largest = max(fit.largest_slope for fit in fits)
    return SplineTable(
        torch.tensor(segments, dtype=torch.float64),
        torch.cat([fit.coefficients for fit in fits]).transpose(0, 1).contiguous(),
        pairs,
        max(fit.error for fit in fits) / max(largest, torch.finfo(torch.float64).tiny),
    )


class _Fit(NamedTuple):
    """Splines of one segment."""

    coefficients: Float64[Tensor, "rows tables columns"]
    error: float
    """Largest error of a slope halfway between knots."""
    largest_slope: float


def _fit(function: Function, start: float, stop: float, intervals: int) -> _Fit:
    step = (stop - start) / intervals
    inside = INSIDE * (stop - start)
    nodes = torch.linspace(start, stop, intervals + 1, dtype=torch.float64)
    halfway = (nodes[1:] + nodes[:-1]) / 2
    values = function(nodes[:, None])
    slopes = _derivative(function)
    ends = torch.tensor([[start + inside], [stop - inside]], dtype=torch.float64)
    bend = _derivative(slopes)(ends)
    slope, exact = slopes(torch.cat([ends, halfway[:, None]])).tensor_split([2])
    beyond = step * torch.arange(1, DEGREE + 1, dtype=torch.float64)
    knots = torch.cat([start - beyond.flip(0), nodes, stop + beyond])
    spline = make_interp_spline(
        nodes.numpy(),
        values.numpy(),
        k=DEGREE,
        t=knots.numpy(),
        bc_type=(
            [(1, slope[0].numpy()), (2, bend[0].numpy())],
            [(1, slope[1].numpy()), (2, bend[1].numpy())],
        ),
    )
    found = torch.from_numpy(spline.derivative()(halfway.numpy()))
    error, largest = (found - exact).abs().max().item(), exact.abs().max().item()
    return _Fit(torch.from_numpy(spline.c), error, largest)


def _derivative(function: Function) -> Function:
    def derivative(x: Tensor) -> Tensor:
        out: Tensor = torch.func.jvp(function, (x,), (torch.ones_like(x),))[1]
        return out

    return derivative
