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

Function = Callable[[Float64[Tensor, "lengths 1"]], Float64[Tensor, "lengths columns"]]


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
    functions: Sequence[Function],
    bounds: Sequence[float],
    tolerance: float,
    pairs: Int[Tensor, "elements elements"] | None = None,
    fewest: int = FEWEST,
) -> SplineTable:
    """Tabulate functions with as many intervals as a tolerance needs.

    Args:
        functions: One for each table.
        bounds: Ends of the segments in Å, ascending: functions are smooth in between.
        tolerance: For `SplineTable.error`.
        pairs: Table of each pair of elements.
        fewest: Number of intervals to start with, such as that of similar functions.

    Raises:
        InaccurateTableError: If the tolerance is not reached.
    """
    total = fewest
    while True:
        table = _with_intervals(functions, bounds, total, pairs)
        if table.error <= tolerance:
            return table
        if total >= MOST:
            raise InaccurateTableError(
                f"radial functions in {total} intervals have errors of {table.error:.1e} "
                f"of the largest slope, more than {tolerance:.1e}"
            )
        total = total * 3 // 2


def _with_intervals(
    functions: Sequence[Function],
    bounds: Sequence[float],
    total: int,
    pairs: Int[Tensor, "elements elements"] | None,
) -> SplineTable:
    length = bounds[-1] - bounds[0]
    segments = [
        (start, stop, max(8, round(total * (stop - start) / length)))
        for start, stop in pairwise(bounds)
    ]
    tables, errors, largest = [], [], []
    for function in functions:
        parts = []
        for start, stop, intervals in segments:
            part, error, slope = _fit(function, start, stop, intervals)
            parts.append(part)
            errors.append(error)
            largest.append(slope)
        tables.append(torch.cat(parts))
    return SplineTable(
        torch.tensor(segments, dtype=torch.float64),
        torch.stack(tables),
        pairs,
        max(errors) / max(max(largest), torch.finfo(torch.float64).tiny),
    )


def _fit(
    function: Function, start: float, stop: float, intervals: int
) -> tuple[Float64[Tensor, "rows columns"], float, float]:
    """Coefficients of one segment, the error of slopes, and the largest slope."""
    step = (stop - start) / intervals
    inside = INSIDE * (stop - start)
    nodes = torch.linspace(start, stop, intervals + 1, dtype=torch.float64)
    halfway = (nodes[1:] + nodes[:-1]) / 2
    values = function(nodes[:, None])
    ends = torch.tensor([[start + inside], [stop - inside]], dtype=torch.float64)
    slope, bend = _derivatives(function, ends, 2)
    knots = start + step * torch.arange(-DEGREE, intervals + DEGREE + 1).double()
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
    (exact,) = _derivatives(function, halfway[:, None], 1)
    found = torch.from_numpy(spline.derivative()(halfway.numpy()))
    error = (found - exact).abs().max().item()
    return torch.from_numpy(spline.c), error, exact.abs().max().item()


def _derivatives(
    function: Function, lengths: Float64[Tensor, "lengths 1"], order: int
) -> list[Float64[Tensor, "lengths columns"]]:
    """Derivatives from the first to a given order."""
    out, current = [], function
    for _ in range(order):
        current = _derivative(current)
        out.append(current(lengths))
    return out


def _derivative(function: Function) -> Function:
    def derivative(x: Tensor) -> Tensor:
        out: Tensor = torch.func.jvp(function, (x,), (torch.ones_like(x),))[1]
        return out

    return derivative
