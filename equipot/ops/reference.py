"""Reference implementation of the compiled ops in plain PyTorch, for any device.

Signatures are those of the schemas in `equipot.ops.convolution`.
"""

from collections.abc import Iterator, Sequence
from typing import no_type_check

import torch
from torch import Tensor


@no_type_check
def convolve(
    x, y, w, senders, receivers, receiver_pointers, sender_order, sender_pointers,
    paths, rows, columns, values, num_outputs, concat,
):  # fmt: skip
    """Derivative of F with respect to g."""
    matrices = _edge_matrices(y, paths, rows, columns, values)
    messages = x.new_zeros(len(senders), num_outputs, x.shape[2])
    for n, i, k, t in _blocks(paths, matrices, concat):
        products = torch.einsum("eik,eic->ekc", t, x[senders, i])
        messages[:, k] += w[:, n, None] * products
    return x.new_zeros(len(x), num_outputs, x.shape[2]).index_add(
        0, receivers, messages
    )


@no_type_check
def convolve_backward(
    x, y, w, g, senders, receivers, receiver_pointers, sender_order, sender_pointers,
    paths, rows, columns, values, num_outputs, concat,
):  # fmt: skip
    """Derivatives of F with respect to x, y and w."""
    matrices = _edge_matrices(y, paths, rows, columns, values)
    x_bar = x.new_zeros(len(senders), *x.shape[1:])
    w_bar = torch.zeros_like(w)
    t_bar = torch.zeros_like(matrices)
    t_bars = _blocks(paths, t_bar, concat)
    for (n, i, k, t), (_, _, _, block) in zip(
        _blocks(paths, matrices, concat), t_bars, strict=True
    ):
        sent, weight, received = x[senders, i], w[:, n, None], g[receivers, k]
        products = torch.einsum("eik,ekc->eic", t, received)
        x_bar[:, i] += weight * products
        w_bar[:, n] = (sent * products).sum(1)
        block.copy_(torch.einsum("eic,ekc->eik", weight * sent, received))
    y_bar = torch.zeros_like(y).index_add(1, columns, t_bar[:, rows] * values)
    return torch.zeros_like(x).index_add(0, senders, x_bar), y_bar, w_bar


@no_type_check
def convolve_double_backward(x, y, w, g, x_dot, y_dot, w_dot, *constants):
    """Derivatives of <x_dot, dF/dx> + <y_dot, dF/dy> + <w_dot, dF/dw>.

    With respect to x, y, w and g. An empty tangent stands for zero.
    """
    x_dot, y_dot, w_dot = map(with_elements, (x_dot, y_dot, w_dot), (x, y, w))
    _, y_of_x, w_of_x = convolve_backward(x_dot, y, w, g, *constants)
    x_of_y, _, w_of_y = convolve_backward(x, y_dot, w, g, *constants)
    x_of_w, y_of_w, _ = convolve_backward(x, y, w_dot, g, *constants)
    g_bar = sum(
        convolve(*operands, *constants)
        for operands in ((x_dot, y, w), (x, y_dot, w), (x, y, w_dot))
    )
    return x_of_y + x_of_w, y_of_x + y_of_w, w_of_x + w_of_y, g_bar


def with_elements(tangent: Tensor, operand: Tensor) -> Tensor:
    """Tangent in the shape of its operand; zeros for an empty tangent."""
    return tangent if tangent.shape == operand.shape else torch.zeros_like(operand)


@no_type_check
def _edge_matrices(y, paths, rows, columns, values) -> Tensor:
    """Edge matrices of all paths, shape (edges, elements)."""
    size = sum((2 * l1 + 1) * (2 * l3 + 1) for l1, _, l3 in _triples(paths))
    return y.new_zeros(len(y), size).index_add(1, rows, y[:, columns] * values)


def _blocks(
    paths: Sequence[int], matrices: Tensor, concat: bool
) -> Iterator[tuple[int, slice, slice, Tensor]]:
    """Index, input slice, output slice and edge matrices of each path."""
    element, component = 0, 0
    for n, (l1, _, l3) in enumerate(_triples(paths)):
        size = (2 * l1 + 1) * (2 * l3 + 1)
        block = matrices[:, element : element + size].unflatten(1, (-1, 2 * l3 + 1))
        start = component if concat else l3**2
        yield n, slice(l1**2, (l1 + 1) ** 2), slice(start, start + 2 * l3 + 1), block
        element += size
        component += 2 * l3 + 1


def _triples(paths: Sequence[int]) -> list[tuple[int, int, int]]:
    flat = iter(paths)
    return list(zip(flat, flat, flat, strict=True))
