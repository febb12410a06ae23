r"""Ops of the interpolation in a table, whose derivatives are ops of the same family.

With six basis functions b of each edge and the first row n of the table A that they
multiply, the ops are the derivatives of one trilinear form,

.. math:: F(b, A, g) = \sum_e \sum_{j=0}^{5} b_{ej} \sum_c A_{n(e) + j, c} \, g_{ec}.

``interpolate`` is its derivative with respect to g, ``interpolate_basis`` with respect
to b, and ``interpolate_table`` with respect to A. The derivatives of each are the other
two, with one operand replaced by a cotangent.
"""

from typing import no_type_check

import torch
from jaxtyping import Float, Int
from torch import Tensor

from equipot.ops.convolution import LIBRARY
from equipot.ops.registration import Definition, define

TERMS = 6
"""Basis functions of each edge."""


def interpolate(
    basis: Float[Tensor, "edges 6"],
    table: Float[Tensor, "rows columns"],
    first: Int[Tensor, " edges"],
) -> Float[Tensor, "edges columns"]:
    """Sums of basis functions times rows of a table, differentiable to any order.

    Args:
        basis: Basis functions of each edge.
        table: Coefficients of the functions of each column.
        first: Row of the first basis function of each edge; the others follow it.
    """
    out: Tensor = torch.ops.equipot.interpolate(
        basis.contiguous(), table.contiguous(), first
    )
    return out


@no_type_check
def _interpolate(basis, table, first):
    return torch.einsum("ej,ejc->ec", basis, table[_rows(first)])


@no_type_check
def _interpolate_basis(table, g, first):
    return torch.einsum("ejc,ec->ej", table[_rows(first)], g)


@no_type_check
def _interpolate_table(basis, g, first, rows):
    products = basis[:, :, None] * g[:, None]
    zero = g.new_zeros(rows, g.shape[1])
    return zero.index_add(0, _rows(first).flatten(), products.flatten(0, 1))


@no_type_check
def _rows(first):
    return first[:, None] + torch.arange(TERMS, device=first.device)


@no_type_check
def _fake_interpolate(basis, table, first):
    return table.new_empty((basis.shape[0], table.shape[1]))


@no_type_check
def _fake_basis(table, g, first):
    return g.new_empty((g.shape[0], TERMS))


@no_type_check
def _fake_table(basis, g, first, rows):
    return g.new_empty((rows, g.shape[1]))


@no_type_check
def _differentiate_interpolate(operands, constants, g):
    (basis, table), (first,), g = operands, constants, g.contiguous()
    ops = torch.ops.equipot
    return (
        ops.interpolate_basis(table, g, first),
        ops.interpolate_table(basis, g, first, table.shape[0])
        if table.requires_grad
        else None,
    )


@no_type_check
def _differentiate_basis(operands, constants, tangent):
    (table, g), (first,), tangent = operands, constants, tangent.contiguous()
    ops = torch.ops.equipot
    return (
        ops.interpolate_table(tangent, g, first, table.shape[0])
        if table.requires_grad
        else None,
        ops.interpolate(tangent, table, first),
    )


@no_type_check
def _differentiate_table(operands, constants, tangent):
    (basis, g), (first, _), tangent = operands, constants, tangent.contiguous()
    ops = torch.ops.equipot
    return (
        ops.interpolate_basis(tangent, g, first),
        ops.interpolate(basis, tangent, first),
    )


DEFINITIONS = {
    "interpolate": Definition(
        "(Tensor basis, Tensor table, Tensor first) -> Tensor",
        _interpolate,
        _fake_interpolate,
        _differentiate_interpolate,
        num_operands=2,
    ),
    "interpolate_basis": Definition(
        "(Tensor table, Tensor g, Tensor first) -> Tensor",
        _interpolate_basis,
        _fake_basis,
        _differentiate_basis,
        num_operands=2,
    ),
    "interpolate_table": Definition(
        "(Tensor basis, Tensor g, Tensor first, int rows) -> Tensor",
        _interpolate_table,
        _fake_table,
        _differentiate_table,
        num_operands=2,
    ),
}
for _name, _definition in DEFINITIONS.items():
    define(_name, _definition, LIBRARY)
