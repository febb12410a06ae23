"""Functions of edge lengths with cached derivatives."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


class EdgeFunction:
    r"""Vector-valued function of the length of each edge, with cached derivatives.

    Each derivative :math:`f^{(n)}` is computed on first use, by forward-mode
    differentiation, and cached. For a Hessian, hundreds of vector products are
    evaluated at the same lengths; the cost of the radial network in each of them is
    then that of a product with a table.

    Args:
        function: Function that acts on each row independently; its other dependencies
            are treated as constant.
        lengths: Lengths in Å.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        lengths: Float[Tensor, "edges 1"],
    ) -> None:
        self._lengths = lengths
        self._derivatives = [function]
        self._tables: list[Tensor] = []

    def __call__(self) -> Float[Tensor, "edges values"]:
        """Values at the lengths, differentiable to any order."""
        out: Tensor = _Derivative.apply(self._lengths, self, 0)
        return out

    def table(self, order: int) -> Float[Tensor, "edges values"]:
        """Table of the derivative of a given order at the lengths, detached."""
        while len(self._derivatives) <= order:
            self._derivatives.append(_derivative(self._derivatives[-1]))
        while len(self._tables) <= order:
            with torch.no_grad():
                function = self._derivatives[len(self._tables)]
                self._tables.append(function(self._lengths.detach()))
        return self._tables[order]


def _derivative(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def derivative(x: Tensor) -> Tensor:
        out: Tensor = torch.func.jvp(function, (x,), (torch.ones_like(x),))[1]
        return out

    return derivative


class _Derivative(torch.autograd.Function):
    """A table as a function of the lengths, whose derivative is the next table."""

    generate_vmap_rule = True

    @staticmethod
    def forward(lengths: Tensor, function: EdgeFunction, order: int) -> Tensor:
        return function.table(order).view_as(function.table(order))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        lengths, ctx.function, ctx.order = inputs
        ctx.save_for_backward(lengths)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (lengths,) = ctx.saved_tensors
        along = _Contraction.apply(gradient, lengths, ctx.function, ctx.order + 1)
        return along, None, None


class _Contraction(torch.autograd.Function):
    """Contraction of a table with a cotangent, without storing the product."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        cotangent: Tensor, lengths: Tensor, function: EdgeFunction, order: int
    ) -> Tensor:
        table = function.table(order)
        return torch.bmm(cotangent[:, None], table[:, :, None])[:, 0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        cotangent, lengths, ctx.function, ctx.order = inputs
        ctx.save_for_backward(cotangent, lengths)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> Any:
        cotangent, lengths = ctx.saved_tensors
        function, order = ctx.function, ctx.order
        to_cotangent = tangent * _Derivative.apply(lengths, function, order)
        along = _Contraction.apply(cotangent, lengths, function, order + 1)
        return to_cotangent, tangent * along, None, None
