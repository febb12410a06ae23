"""Nonlinearities whose derivatives cost as little as their values."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def silu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Sigmoid linear unit, :math:`x \, \sigma(x)`.

    The same function as in PyTorch, which expands its first derivative into a dozen
    operations as soon as that is to be differentiated again, as in every step of
    training on forces. Here first and second derivatives are formulas.
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
