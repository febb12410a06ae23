"""Registration of ops: schema, fake, derivative, batching; for all families."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, no_type_check

import torch
from torch import Tensor


class Definition(NamedTuple):
    """An op: what it takes and returns, and how it is differentiated."""

    schema: str
    """Signature of the op, without its name."""
    reference: Callable[..., Any]
    """Computes it in plain PyTorch on any device; kernels take precedence."""
    fake: Callable[..., Any]
    """Gives tensors of the right shapes."""
    differentiate: Callable[..., Any] | None = None
    """Gradients of the operands from ``(operands, constants, *cotangents)``, where a
    cotangent that is zero may be None; None for an op that is constant."""
    num_operands: int = 0
    """Inputs that have gradients, the first ones; the others are constants."""


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
    """Gradients of an op by differentiating a function that computes the same.

    Args:
        compose: Computes what the op does of its operands by others, whose derivatives
            are known.
        operands: Of the op.
        cotangents: Of its results.
    """
    higher = torch.is_grad_enabled()
    with torch.enable_grad():
        if higher:
            # partial derivatives: operands may depend on each other, views do not
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
    """What the dispatcher calls where gradients may be recorded.

    Does what `torch.library.register_autograd` does at a third of its cost, which for a
    molecule is more than that of the convolution.
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
    """A vmap rule that calls an op for each member."""

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
    # the dimensions of a list that holds no tensors are a list, too
    return value.select(dim, n).contiguous() if isinstance(dim, int) else value
