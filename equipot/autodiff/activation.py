"""Nonlinearities with analytic first and second derivatives."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def silu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Sigmoid linear unit, :math:`x \, \sigma(x)`.

    Equal to `torch.nn.functional.silu`, whose first derivative expands into a dozen
    operations if it is differentiated again, as in every training step on forces. Here
    first and second derivatives are closed formulas.
    """
    out: Tensor = _SiLU.apply(x)
    return out


class _SiLU(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.nn.functional.silu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return _SiLUGradient.apply(gradient, x)


class _SiLUGradient(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, x: Tensor) -> Any:
        return torch.ops.aten.silu_backward(gradient, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> Any:
        gradient, x = ctx.saved_tensors
        return (
            _SiLUGradient.apply(tangent, x),
            tangent * gradient * _second_derivative(x),
        )


def _second_derivative(x: Tensor) -> Any:
    s = torch.sigmoid(x)
    return s * (1 - s) * (2 + x * (1 - 2 * s))
