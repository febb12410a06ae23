"""Contraction by monomials in plain PyTorch, for any device; differentiable.

Signatures are those of the schemas in `equipot.ops.contraction`. Monomials and their
derivatives are evaluated level by level, that is by number of factors.
"""

from collections.abc import Sequence
from typing import no_type_check

import torch
from torch import Tensor

Levels = list[Tensor]
"""Values by number of factors, each of shape (nodes, monomials, channels)."""


@no_type_check
def contract(x, a, rows, sizes, parents, factors, monomials, outputs, num_outputs):
    """Derivative of F with respect to g."""
    values = torch.cat(_levels(x, sizes, parents, factors), dim=1)
    return _sum_terms(a[rows] * values[:, monomials], outputs, num_outputs)


@no_type_check
def contract_backward(
    x, a, g, rows, sizes, parents, factors, monomials, outputs, with_a_bar
):
    """Derivatives of F with respect to x and a."""
    levels = _levels(x, sizes, parents, factors)
    received = g[:, outputs]
    bars = _split(_sum_terms(a[rows] * received, monomials, sum(sizes)), sizes)
    x_bar = _backpropagate(bars, levels, x, sizes, parents, factors)
    if not with_a_bar:
        return x_bar, a.new_zeros(0)
    return x_bar, _by_row(received * torch.cat(levels, 1)[:, monomials], a, rows)


@no_type_check
def contract_double_backward(
    x, a, g, x_dot, a_dot, rows, sizes, parents, factors, monomials, outputs
):
    """Derivatives of <x_dot, dF/dx> + <a_dot, dF/da> with respect to x, a and g.

    An empty tangent stands for zero.
    """
    x_dot, a_dot = (
        dot if dot.shape == of.shape else torch.zeros_like(of)
        for dot, of in ((x_dot, x), (a_dot, a))
    )
    levels = _levels(x, sizes, parents, factors)
    dots = _tangent_levels(levels, x, x_dot, sizes, parents, factors)
    value, dot = (torch.cat(part, 1)[:, monomials] for part in (levels, dots))
    received = g[:, outputs]
    g_bar = _sum_terms(a[rows] * dot + a_dot[rows] * value, outputs, g.shape[1])
    a_bar = _by_row(received * dot, a, rows)
    bars = _split(_sum_terms(a_dot[rows] * received, monomials, sum(sizes)), sizes)
    dot_bars = _split(_sum_terms(a[rows] * received, monomials, sum(sizes)), sizes)
    x_bar = torch.zeros_like(x)
    for level in reversed(range(1, len(sizes))):
        parent, factor = _step(level, sizes, parents, factors)
        bar, dot_bar = bars[level], dot_bars[level]
        x_bar = x_bar.index_add(
            1,
            factor,
            bar * levels[level - 1][:, parent] + dot_bar * dots[level - 1][:, parent],
        )
        bars[level - 1] = bars[level - 1].index_add(
            1, parent, bar * x[:, factor] + dot_bar * x_dot[:, factor]
        )
        dot_bars[level - 1] = dot_bars[level - 1].index_add(
            1, parent, dot_bar * x[:, factor]
        )
    return x_bar + bars[0], a_bar, g_bar


def _levels(
    x: Tensor, sizes: Sequence[int], parents: Tensor, factors: Tensor
) -> Levels:
    levels = [x]
    for level in range(1, len(sizes)):
        parent, factor = _step(level, sizes, parents, factors)
        levels.append(levels[-1][:, parent] * x[:, factor])
    return levels


def _tangent_levels(
    levels: Levels,
    x: Tensor,
    x_dot: Tensor,
    sizes: Sequence[int],
    parents: Tensor,
    factors: Tensor,
) -> Levels:
    dots = [x_dot]
    for level in range(1, len(sizes)):
        parent, factor = _step(level, sizes, parents, factors)
        dots.append(
            dots[-1][:, parent] * x[:, factor]
            + levels[level - 1][:, parent] * x_dot[:, factor]
        )
    return dots


def _backpropagate(
    bars: Levels,
    levels: Levels,
    x: Tensor,
    sizes: Sequence[int],
    parents: Tensor,
    factors: Tensor,
) -> Tensor:
    """Derivative with respect to x, from those with respect to the monomials."""
    x_bar = torch.zeros_like(x)
    for level in reversed(range(1, len(sizes))):
        parent, factor = _step(level, sizes, parents, factors)
        x_bar = x_bar.index_add(1, factor, bars[level] * levels[level - 1][:, parent])
        bars[level - 1] = bars[level - 1].index_add(
            1, parent, bars[level] * x[:, factor]
        )
    return x_bar + bars[0]


def _step(
    level: int, sizes: Sequence[int], parents: Tensor, factors: Tensor
) -> tuple[Tensor, Tensor]:
    """Index of the parent in the level below, and of the last factor."""
    below = sum(sizes[: level - 1])
    here = slice(below + sizes[level - 1], below + sizes[level - 1] + sizes[level])
    return parents[here] - below, factors[here]


def _split(values: Tensor, sizes: Sequence[int]) -> Levels:
    return list(values.split(list(sizes), dim=1))


def _sum_terms(terms: Tensor, index: Tensor, size: int | torch.SymInt) -> Tensor:
    """Sum of the terms with the same index."""
    zero = terms.new_zeros(len(terms), size, terms.shape[2])
    return zero.index_add(1, index, terms)


def _by_row(terms: Tensor, a: Tensor, rows: Tensor) -> Tensor:
    """Sum over the nodes with the same row of coefficients."""
    return torch.zeros_like(a).index_add(0, rows, terms)
