"""Registration of ops: schema, fake implementation, derivative and batching rule."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, no_type_check

import torch
from torch import Tensor


class Definition(NamedTuple):
    """Definition of an op: schema, implementations and derivative."""

    schema: str
    """Signature of the op, without its name."""
    reference: Callable[..., Any]
    """Implementation in plain PyTorch for any device; kernels take precedence."""
    fake: Callable[..., Any]
    """Fake implementation, which returns empty tensors of the result shapes."""
    differentiate: Callable[..., Any] | None = None
    """Gradients of the operands from ``(operands, constants, *cotangents)``, where None
    stands for a zero cotangent; None for an op without derivatives."""
    num_operands: int = 0
    """Number of leading inputs that have gradients; the others are constants."""


def define(name: str, definition: Definition, library: torch.library.Library) -> None:
    """Define an op of the namespace ``equipot``."""
    qualified = f"equipot::{name}"
    library.define(name + definition.schema)
    library.impl(name, definition.reference, "CompositeExplicitAutograd")
    torch.library.register_fake(qualified, definition.fake, lib=library)
    op = getattr(torch.ops.equipot, name).default
    if definition.differentiate is not None:
        kernel = _autograd_kernel(op, definition.differentiate, definition.num_operands)
        library.impl(name, kernel, "Autograd")
    torch.library.register_vmap(qualified, _loop_over_batch(op), lib=library)


@no_type_check
def differentiate_composition(
    compose: Callable[..., Sequence[Tensor]],
    operands: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
) -> Sequence[Tensor]:
    """Gradients of an op by differentiating an equivalent composition of other ops.

    Args:
        compose: Function equivalent to the op, in terms of ops whose derivatives are
            registered.
        operands: Operands of the op.
        cotangents: Cotangents of its results.
    """
    higher = torch.is_grad_enabled()
    with torch.enable_grad():
        if higher:
            # Views give partial derivatives; operands may depend on each other.
            operands = [_view(t) for t in operands]
        else:
            operands = [t.detach().requires_grad_() for t in operands]
        used = [
            pair
            for pair in zip(compose(*operands), cotangents, strict=True)
            if pair[1] is not None
        ]
        return torch.autograd.grad(
            [output for output, _ in used],
            operands,
            [cotangent for _, cotangent in used],
            create_graph=higher,
            materialize_grads=True,
        )


def _view(tensor: Tensor) -> Tensor:
    return (
        tensor.view_as(tensor)
        if tensor.requires_grad
        else tensor.detach().requires_grad_()
    )


@no_type_check
def _autograd_kernel(op, rule, num_operands):
    """Kernel for the Autograd dispatch key.

    Equivalent to `torch.library.register_autograd` at a third of its overhead, which
    for a molecule exceeds the time of the convolution.
    """

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            with torch._C._AutoDispatchBelowAutograd():
                outputs = op(*inputs)
            ctx.save_for_backward(*(t for t in inputs if isinstance(t, Tensor)))
            ctx.inputs = [None if isinstance(t, Tensor) else t for t in inputs]
            ctx.set_materialize_grads(False)
            return outputs

        @staticmethod
        def backward(ctx, *gradients):
            without = (None,) * (len(ctx.inputs) - num_operands)
            if all(gradient is None for gradient in gradients):
                return (None,) * num_operands + without
            tensors = iter(ctx.saved_tensors)
            inputs = [next(tensors) if t is None else t for t in ctx.inputs]
            derivatives = rule(inputs[:num_operands], inputs[num_operands:], *gradients)
            return *derivatives, *without

    def kernel(*inputs):
        if torch.is_grad_enabled() and any(
            t.requires_grad for t in inputs[:num_operands]
        ):
            return Function.apply(*inputs)
        with torch._C._AutoDispatchBelowAutograd():
            return op(*inputs)

    return kernel


@no_type_check
def _loop_over_batch(op: Callable[..., Any]) -> Callable[..., Any]:
    """Vmap rule that calls an op for each batch member."""

    def rule(info, in_dims, *args):
        members = [
            op(*(_member(a, d, n) for a, d in zip(args, in_dims, strict=True)))
            for n in range(info.batch_size)
        ]
        if isinstance(members[0], Tensor):
            return torch.stack(members), 0
        stacked = tuple(torch.stack(parts) for parts in zip(*members, strict=True))
        return stacked, (0,) * len(stacked)

    return rule


@no_type_check
def _member(value, dim, n):
    # For a list without tensors, in_dims is a list, too.
    return value.select(dim, n).contiguous() if isinstance(dim, int) else value
