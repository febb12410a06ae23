"""Radial functions of the layers of a model, as splines for programs."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from equipot.frozen.splines import FEWEST, SHORTEST, Function, SplineTable, tabulate
from equipot.models.architectures.tensornet import TensorNet
from equipot.models.message_passing import MessagePassing, plain_silu

SAMPLES = 512
"""Lengths at which functions are compared to find their rank."""
ROUNDING = 1e-14
"""Singular values below, relative to the largest, are rounding errors."""

Radial = Callable[..., Tensor]
"""Module like `equipot.nn.RadialMLP`."""
Arrange = Callable[[Tensor], Tensor]
"""Map of its values, shape ``(lengths, values)``, to columns of a table."""


class Tolerance(NamedTuple):
    """Accuracy of tables, relative to the largest slope or value."""

    slopes: float
    rank: float


TOLERANCES = {
    torch.float32: Tolerance(slopes=3e-7, rank=1e-7),
    torch.float64: Tolerance(slopes=1e-10, rank=1e-12),
}


class LowRank(NamedTuple):
    """Few functions of which all radial functions are linear combinations."""

    table: SplineTable
    combinations: Float64[Tensor, "functions columns"]


@final
class RadialTables:
    """Tabulates radial functions of a backbone for the elements that are present.

    Args:
        backbone: Backbone in float64.
        present: Indices of its elements.
        dtype: Precision of the program.
    """

    def __init__(
        self,
        backbone: MessagePassing | TensorNet,
        present: Sequence[int],
        dtype: torch.dtype,
    ) -> None:
        self._inputs = backbone.radial_inputs
        self._present = list(present)
        self._tolerance = TOLERANCES[dtype]
        inner = [r for r in backbone.hessian_jumps if r < backbone.cutoff]
        self._bounds = [SHORTEST, *sorted(inner), backbone.cutoff]
        self._intervals = FEWEST
        self._pairs: Tensor | None = None
        self._elements = [(self._present[0], self._present[0])]
        if self._inputs.transform is not None:
            self._pairs, places = pairs_of(len(self._present))
            self._elements = [(self._present[a], self._present[b]) for a, b in places]

    def full(self, radial: Radial, arrange: Arrange) -> SplineTable:
        """All radial functions."""
        table, combinations = self._few(radial, arrange, ROUNDING)
        return table._replace(coefficients=table.coefficients @ combinations)

    def low_rank(self, radial: Radial, arrange: Arrange) -> LowRank:
        """Few functions that span all."""
        return self._few(radial, arrange, self._tolerance.rank)

    def _few(self, radial: Radial, arrange: Arrange, tolerance: float) -> LowRank:
        """Few functions, by a singular value decomposition of sampled values."""
        function = self._function(radial, arrange)
        first, last = self._bounds[0], self._bounds[-1]
        lengths = torch.linspace(first, last, SAMPLES, dtype=torch.float64)[:, None]
        # eigenvectors of the smaller product would lose half of the digits
        triangle = torch.linalg.qr(function(lengths).flatten(0, 1), mode="r")[1]
        _, sizes, rows = torch.linalg.svd(triangle, full_matrices=False)
        rank = int((sizes > tolerance * sizes[0]).sum())
        basis = rows[: max(rank, 1)]
        table = tabulate(
            lambda r: function(r) @ basis.T,
            self._bounds,
            self._tolerance.slopes,
            self._pairs,
            self._intervals,
        )
        self._intervals = table.num_intervals
        return LowRank(table, basis)

    def _function(self, radial: Radial, arrange: Arrange) -> Function:
        """Radial functions of all pairs of elements."""
        pairs = torch.tensor(self._elements).T

        @torch.no_grad()
        def function(lengths: Tensor) -> Tensor:
            elements = pairs[:, None].expand(2, len(lengths), -1).flatten(1)
            repeated = lengths.repeat_interleave(pairs.shape[1], dim=0)
            values = radial(*self._inputs(repeated, elements), plain_silu)
            return arrange(values).unflatten(0, (-1, pairs.shape[1]))

        return function


def pairs_of(
    count: int,
) -> tuple[Int[Tensor, "elements elements"], list[tuple[int, int]]]:
    """Number of each unordered pair of elements, and the pairs in this order."""
    pairs = [(a, b) for a in range(count) for b in range(a + 1)]
    numbers = torch.zeros(count, count, dtype=torch.int64)
    for n, (a, b) in enumerate(pairs):
        numbers[a, b] = numbers[b, a] = n
    return numbers, pairs
