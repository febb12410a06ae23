"""Radial functions of the layers of a model, as splines for programs."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Float64
from torch import Tensor

from equipot.frozen.splines import SHORTEST, Function, SplineTable, tabulate
from equipot.models.message_passing import MessagePassing, plain_silu

SAMPLES = 1024
"""Lengths at which functions are compared to find their rank."""

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
    torch.float64: Tolerance(slopes=1e-9, rank=1e-12),
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
        self, backbone: MessagePassing, present: Sequence[int], dtype: torch.dtype
    ) -> None:
        self._inputs = backbone.radial_inputs
        self._present = list(present)
        self._tolerance = TOLERANCES[dtype]
        inner = [r for r in backbone.hessian_jumps if r < backbone.cutoff]
        self._bounds = [SHORTEST, *sorted(inner), backbone.cutoff]
        self._pairs: Tensor | None = None
        self._elements = [(self._present[0], self._present[0])]
        if self._inputs.transform is not None:
            count = len(self._present)
            high, low = torch.tril_indices(count, count).tolist()
            self._pairs = torch.zeros(count, count, dtype=torch.int64)
            for n, (a, b) in enumerate(zip(high, low, strict=True)):
                self._pairs[a, b] = self._pairs[b, a] = n
            self._elements = [
                (self._present[a], self._present[b])
                for a, b in zip(high, low, strict=True)
            ]

    def full(self, radial: Radial, arrange: Arrange) -> SplineTable:
        """All radial functions."""
        functions = [self._function(radial, arrange, pair) for pair in self._elements]
        return tabulate(functions, self._bounds, self._tolerance.slopes, self._pairs)

    def low_rank(self, radial: Radial, arrange: Arrange) -> LowRank:
        """Few functions, by a singular value decomposition of sampled values."""
        functions = [self._function(radial, arrange, pair) for pair in self._elements]
        first, last = self._bounds[0], self._bounds[-1]
        lengths = torch.linspace(first, last, SAMPLES, dtype=torch.float64)[:, None]
        sampled = torch.cat([function(lengths) for function in functions])
        _, sizes, rows = torch.linalg.svd(sampled, full_matrices=False)
        rank = int((sizes > self._tolerance.rank * sizes[0]).sum())
        basis = rows[: max(rank, 1)]

        def project(function: Function) -> Function:
            return lambda r: function(r) @ basis.T

        table = tabulate(
            [project(function) for function in functions],
            self._bounds,
            self._tolerance.slopes,
            self._pairs,
        )
        return LowRank(table, basis)

    def _function(
        self, radial: Radial, arrange: Arrange, pair: tuple[int, int]
    ) -> Function:
        def function(lengths: Tensor) -> Tensor:
            elements = torch.tensor(pair)[:, None].expand(2, len(lengths))
            return arrange(radial(*self._inputs(lengths, elements), plain_silu))

        def without_gradients(lengths: Tensor) -> Tensor:
            with torch.no_grad():
                return function(lengths)

        return without_gradients
