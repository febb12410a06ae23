"""Node products with weights per path, written as sums of monomials."""

from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from equipot.node_products.couplings import coupling_polynomials
from equipot.node_products.polynomials import (
    basis_norm,
    monomial_index,
    monomials,
)
from equipot.node_products.scales import coupling_scales
from equipot.node_products.spec import NodeProductSpec
from equipot.ops.contraction import Monomials
from equipot.so3 import degree_slice, num_components

SMALLEST = 1e-12
"""Coefficients below, relative to one, are rounding errors of zeros."""


class MonomialTerms(NamedTuple):
    """Terms of a node product."""

    table: Monomials
    """Monomials and terms."""
    of_weights: Float64[Tensor, "terms num_weights"]
    """Coefficients of the terms, as a linear map of the weights."""


@cache
def monomial_terms(spec: NodeProductSpec) -> MonomialTerms:
    """Terms of a node product with weights per path.

    Args:
        spec: Specification; the result is computed on first use and cached.
    """
    components = num_components(spec.lmax_in)
    tables = [monomials(components, order) for order in spec.orders]
    coefficients = [_coefficients(spec, order) for order in spec.orders]
    used = _needed(tables, coefficients)
    positions = _positions(used)
    which, outputs, values = [], [], []
    for position, coefficient in zip(positions, coefficients, strict=True):
        output, monomial = (coefficient.abs().amax(0) > SMALLEST).nonzero().unbind(1)
        which.append(position[monomial])
        outputs.append(output)
        values.append(coefficient[:, output, monomial].T)
    parents = [torch.zeros(components, dtype=torch.int64)]
    for table, mask, below in zip(tables[1:], used[1:], positions, strict=False):
        parents.append(below[_without_last_factor(table[mask])])
    ascending = torch.cat(which).argsort(stable=True)
    terms = Monomials(
        sizes=[int(mask.sum()) for mask in used],
        parents=torch.cat(parents),
        factors=torch.cat([t[mask, -1] for t, mask in zip(tables, used, strict=True)]),
        monomials=torch.cat(which)[ascending],
        outputs=torch.cat(outputs)[ascending],
    )
    return MonomialTerms(terms, torch.cat(values)[ascending])


def _coefficients(
    spec: NodeProductSpec, order: int
) -> Float64[Tensor, "num_weights outputs monomials"]:
    """Coefficients of all monomials of some order, for unit weights."""
    norms = basis_norm(monomials(num_components(spec.lmax_in), order))
    out = norms.new_zeros(spec.num_weights, spec.num_outputs, len(norms))
    first = 0
    for block, scales in zip(spec.blocks, coupling_scales(spec), strict=True):
        weights = slice(first, first := first + block.num_couplings)
        if block.order == order:
            polynomials = coupling_polynomials(
                spec.lmax_in, order, block.irrep, slice(None)
            )
            components = degree_slice(block.irrep.degree)
            out[weights, components] = scales[:, None, None] * polynomials * norms
    return out


def _needed(
    tables: list[Int[Tensor, "_ _"]],
    coefficients: list[Float64[Tensor, "num_weights outputs _"]],
) -> list[Bool[Tensor, " _"]]:
    """Which monomials of each order have a term, or are a parent of one that has."""
    used = [c.abs().amax((0, 1)) > SMALLEST for c in coefficients]
    for level in reversed(range(1, len(used))):
        used[level - 1][_without_last_factor(tables[level][used[level]])] = True
    used[0][:] = True
    return used


def _positions(
    used: list[Bool[Tensor, " _"]],
) -> list[Int[Tensor, " _"]]:
    """Index of each used monomial among the used ones of all orders."""
    first, positions = 0, []
    for mask in used:
        positions.append(mask.cumsum(0) - 1 + first)
        first += int(mask.sum())
    return positions


def _without_last_factor(
    table: Int[Tensor, "monomials order"],
) -> Int[Tensor, " monomials"]:
    """Index of the parents of monomials among all of one factor less."""
    return monomial_index(table[:, :-1])
