r"""Ops of the contraction: polynomials of node features, channel by channel.

With monomials :math:`\mu_m` of the components of a feature, the contraction and its
derivatives follow from one form, linear in the coefficients a and in g,

.. math:: F(x, a, g) = \sum_n \sum_{t,c} g_{n k(t) c} \, a_{z(n) t c} \,
          \mu_{m(t)}(x_{nc}),

where node n has the coefficients of row z(n), and term t contributes the monomial m(t)
to component k(t) of the result. ``contract`` is its derivative with respect to g,
``contract_backward`` with respect to x and a, and ``contract_double_backward`` is the
derivative of the latter along tangents, where an empty tangent stands for zero. Higher
derivatives are those of the reference, `equipot.ops.contraction_reference`, which is in
plain PyTorch; kernels for the CPU take precedence over it for the three ops.
"""

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import torch
from jaxtyping import Float, Int
from torch import Tensor

from equipot.ops import contraction_reference as reference
from equipot.ops.convolution import LIBRARY, present
from equipot.ops.registration import Definition, define, differentiate_composition

MONOMIALS_SCHEMA = (
    "Tensor rows, int[] sizes, Tensor parents, Tensor factors, "
    "Tensor monomials, Tensor outputs"
)


class Monomials(NamedTuple):
    """Monomials and terms of a contraction; indices are int64."""

    sizes: Sequence[int]
    """Number of monomials of 1, 2, ... factors; those of 1 are the components."""
    parents: Int[Tensor, " monomials"]
    """Index of the monomial without the last factor; for components, not used."""
    factors: Int[Tensor, " monomials"]
    """Component that is the last factor."""
    monomials: Int[Tensor, " terms"]
    """Monomial of each term, ascending."""
    outputs: Int[Tensor, " terms"]
    """Component of the result that each term contributes to."""


def contract(
    x: Float[Tensor, "nodes components channels"],
    a: Float[Tensor, "rows terms channels"],
    rows: Int[Tensor, " nodes"],
    table: Monomials,
    num_outputs: int,
) -> Float[Tensor, "nodes num_outputs channels"]:
    """Polynomials of the features of each node, differentiable to any order.

    Args:
        x: Node features.
        a: Coefficients of the terms, one row for all nodes that share them.
        rows: Row of each node.
        table: Monomials and terms.
        num_outputs: Number of components of the result.
    """
    out: Tensor = torch.ops.equipot.contract(
        x.contiguous(), a.contiguous(), rows.contiguous(), *table, num_outputs
    )
    return out


@no_type_check
def _fake_contract(x, a, rows, *constants):
    return x.new_empty((x.shape[0], constants[-1], x.shape[2]))


@no_type_check
def _fake_backward(x, a, g, *constants):
    a_bar = torch.empty_like(a) if constants[-1] else a.new_empty(0)
    return torch.empty_like(x), a_bar


@no_type_check
def _fake_double_backward(x, a, g, *constants):
    return tuple(torch.empty_like(t) for t in (x, a, g))


@no_type_check
def _differentiate_contract(operands, constants, g):
    x, a = operands
    x_bar, a_bar = torch.ops.equipot.contract_backward(
        x, a, g.contiguous(), *constants[:-1], a.requires_grad
    )
    return x_bar, a_bar if a.requires_grad else None


@no_type_check
def _differentiate_backward(operands, constants, *tangents):
    x_dot, a_dot = map(present, tangents, operands[:2])
    return torch.ops.equipot.contract_double_backward(
        *operands, x_dot, a_dot, *constants[:-1]
    )


@no_type_check
def _differentiate_double_backward(operands, constants, *cotangents):
    def compose(*operands):
        return reference.contract_double_backward(*operands, *constants)

    return differentiate_composition(compose, operands, cotangents)


DEFINITIONS = {
    "contract": Definition(
        f"(Tensor x, Tensor a, {MONOMIALS_SCHEMA}, int num_outputs) -> Tensor",
        reference.contract,
        _fake_contract,
        _differentiate_contract,
        num_operands=2,
    ),
    "contract_backward": Definition(
        f"(Tensor x, Tensor a, Tensor g, {MONOMIALS_SCHEMA}, bool with_a_bar)"
        " -> (Tensor, Tensor)",
        reference.contract_backward,
        _fake_backward,
        _differentiate_backward,
        num_operands=3,
    ),
    "contract_double_backward": Definition(
        "(Tensor x, Tensor a, Tensor g, Tensor x_dot, Tensor a_dot, "
        f"{MONOMIALS_SCHEMA}) -> (Tensor, Tensor, Tensor)",
        reference.contract_double_backward,
        _fake_double_backward,
        _differentiate_double_backward,
        num_operands=5,
    ),
}
for _name, _definition in DEFINITIONS.items():
    define(_name, _definition, LIBRARY)
