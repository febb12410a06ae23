r"""Functions of the length of an edge by quintic B-splines through few of their values.

With :math:`n` intervals of width h, and s the values of a function at n + 5 sites,

.. math:: f(r) = \sum_{j=0}^{5} b_j(t) \, c_{k+j}, \qquad
          (r - r_0) / h = k + t, \quad 0 \le t \le 1, \qquad c = S^{-1} s

with the uniform B-splines b and their values S at the sites. The result is four times
continuously differentiable. Its error falls with the sixth power of h.
"""

from math import comb, factorial
from typing import Final, final

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from equipot.constants import Constant
from equipot.ops.interpolation import TERMS, interpolate

DEGREE: Final = TERMS - 1
SHORTEST: Final = 0.2
"""Length in Å from which on functions are tabulated."""


@final
class RadialTable:
    """Sites at which functions are evaluated, and interpolation between them.

    Args:
        cutoff: Length in Å at which the intervals end, and functions vanish.
        intervals: Number of intervals, 4 or more.

    Raises:
        ValueError: If there are fewer than 4 intervals, or the cutoff is too short.
    """

    def __init__(self, cutoff: float, intervals: int) -> None:
        if intervals < 4 or cutoff <= SHORTEST:
            raise ValueError(
                "a table needs 4 intervals or more, and a cutoff above "
                f"{SHORTEST} Å, got {intervals} and {cutoff} Å"
            )
        self.intervals = intervals
        self._step = (cutoff - SHORTEST) / intervals
        knots = torch.arange(intervals + 1, dtype=torch.float64)
        # one site for each coefficient: the knots, and four points near the ends
        extra = torch.tensor([0.5, 1.5, intervals - 1.5, intervals - 0.5])
        places = torch.cat([knots, extra.double()]).sort().values
        self._sites = Constant((SHORTEST + self._step * places)[:, None])
        self._halfway = Constant((SHORTEST + self._step * (knots[:-1] + 0.5))[:, None])
        self._polynomials = Constant(_polynomials())
        self._solve = Constant(torch.linalg.inv(self._collocation(places)))

    def sites(self, like: Tensor) -> Float[Tensor, "rows 1"]:
        """Lengths in Å at which `coefficients` needs values."""
        return self._sites.like(like)

    def halfway(self, like: Tensor) -> Float[Tensor, "intervals 1"]:
        """Middles of the intervals, where errors are largest."""
        return self._halfway.like(like)

    def coefficients(
        self, values: Float[Tensor, "rows columns"]
    ) -> Float[Tensor, "rows columns"]:
        """Coefficients of the splines through values at the sites."""
        return self._solve.like(values) @ values

    def basis(
        self, lengths: Float[Tensor, "edges 1"]
    ) -> tuple[Float[Tensor, "edges 6"], Int[Tensor, " edges"]]:
        """B-splines that do not vanish at given lengths, and the first row of each.

        Lengths outside of the intervals count as the nearest end.
        """
        place = ((lengths - SHORTEST) / self._step).clamp(0, self.intervals)
        first = place.detach().long().clamp(max=self.intervals - 1)
        return self._basis(place - first), first[:, 0]

    def _basis(self, t: Float[Tensor, "edges 1"]) -> Float[Tensor, "edges 6"]:
        square = t * t
        powers = [torch.ones_like(t), t, square, square * t, square * square]
        powers.append(powers[3] * square)
        return torch.cat(powers, dim=1) @ self._polynomials.like(t)

    def _collocation(
        self, places: Float64[Tensor, " rows"]
    ) -> Float64[Tensor, "rows rows"]:
        """Values of all B-splines at the sites."""
        first = places.long().clamp(max=self.intervals - 1)
        basis = self._basis((places - first)[:, None])
        matrix = torch.zeros(len(places), len(places), dtype=torch.float64)
        columns = first[:, None] + torch.arange(TERMS)
        return matrix.scatter(1, columns, basis)


def largest_error(
    table: RadialTable,
    values: Float[Tensor, "rows columns"],
    exact: Float[Tensor, "intervals columns"],
) -> float:
    """Largest error halfway between knots, relative to the largest value.

    Args:
        table: Sites and intervals.
        values: Of the functions at ``table.sites``.
        exact: Of the functions at ``table.halfway``.
    """
    basis, first = table.basis(table.halfway(values))
    found = interpolate(basis, table.coefficients(values), first)
    smallest = torch.finfo(values.dtype).tiny
    return float((found - exact).abs().max() / exact.abs().max().clamp(min=smallest))


def _polynomials() -> Float64[Tensor, "6 6"]:
    """Coefficient of each power of t in each B-spline of an interval."""
    out = torch.zeros(TERMS, TERMS, dtype=torch.float64)
    for spline in range(TERMS):
        for m in range(TERMS - spline):
            factor = (-1) ** m * comb(TERMS, m) / factorial(DEGREE)
            shift = DEGREE - spline - m
            for power in range(TERMS):
                term = comb(DEGREE, power) * float(shift) ** (DEGREE - power)
                out[power, spline] += factor * term
    return out
