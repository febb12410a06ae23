r"""Ops of the channelwise convolution, whose derivatives are ops of the same family.

With edge matrices :math:`T_e = \sum_j M_j Y_{ej}`, a linear map M of the harmonics, the
convolution and its derivatives follow from one multilinear form,

.. math:: F(x, Y, w, g) = \sum_e \sum_{p,c} w_{epc} \sum_{ik}
          x_{s(e) ic} \, T^p_{eik} \, g_{r(e) kc},

with senders s and receivers r. ``convolve`` is its derivative with respect to g,
``convolve_backward`` with respect to x, Y, w, and ``convolve_double_backward``
is the derivative of the latter along tangents, where an empty tangent stands for zero.
Higher derivatives are composed of these three.

This module defines schemas and derivatives. `equipot.ops.reference` implements the ops
in plain PyTorch on any device, and the libraries built from ``cuda_ext/`` register
kernels that take precedence.
"""

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import torch
from jaxtyping import Float, Int
from torch import Tensor

from equipot.graph.connectivity import CompressedEdges
from equipot.ops import reference
from equipot.ops.reference import with_elements
from equipot.ops.registration import Definition, define, differentiate_composition

TOPOLOGY_SCHEMA = (
    "Tensor senders, Tensor receivers, Tensor receiver_pointers, "
    "Tensor sender_order, Tensor sender_pointers"
)
TABLE_SCHEMA = (
    "int[] paths, Tensor rows, Tensor columns, Tensor values, "
    "int num_outputs, bool concat"
)


class Table(NamedTuple):
    """Sparse coupling coefficients of a product."""

    paths: Sequence[int]
    """Degrees (l_in, l_filter, l_out) of all paths, flattened."""
    rows: Int[Tensor, " nonzeros"]
    """Index into the edge matrices, int32, ascending: the matrices of all paths are
    concatenated, each of (2 l_in + 1) x (2 l_out + 1) elements in C order."""
    columns: Int[Tensor, " nonzeros"]
    """Index of the harmonic that contributes, int32."""
    values: Float[Tensor, " nonzeros"]
    """Coefficient, in the precision of the operands."""
    num_outputs: int
    """Number of components of the messages."""
    concat: bool
    """Whether each path has its own components; otherwise degree l starts at l^2."""


def convolve(
    x: Float[Tensor, "nodes sph_in channels"],
    y: Float[Tensor, "edges sph_filter"],
    w: Float[Tensor, "edges paths channels"],
    edges: CompressedEdges,
    table: Table,
) -> Float[Tensor, "nodes num_outputs channels"]:
    """Sum of the messages of incoming edges, differentiable to any order.

    Args:
        x: Node features.
        y: Harmonics of the edges.
        w: Path weights of the edges.
        edges: Edges, sorted by receiver.
        table: Paths and coupling coefficients.
    """
    operands = (x.contiguous(), y.contiguous(), w.contiguous())
    out: Tensor = torch.ops.equipot.convolve(*operands, *edges, *table)
    return out


@no_type_check
def _fake_convolve(x, y, w, *constants):
    return x.new_empty((x.shape[0], constants[-2], x.shape[2]))


@no_type_check
def _fake_backward(x, y, w, g, *constants):
    return torch.empty_like(x), torch.empty_like(y), torch.empty_like(w)


@no_type_check
def _fake_double_backward(x, y, w, g, *constants):
    return tuple(torch.empty_like(t) for t in (x, y, w, g))


@no_type_check
def _differentiate_convolve(operands, constants, g):
    return torch.ops.equipot.convolve_backward(*operands, g.contiguous(), *constants)


@no_type_check
def _differentiate_backward(operands, constants, *tangents):
    tangents = map(present, tangents, operands[:3])
    return torch.ops.equipot.convolve_double_backward(*operands, *tangents, *constants)


@no_type_check
def present(tangent, operand):
    """The tangent, or an empty tensor if autograd passes None for zero."""
    return operand.new_empty(0) if tangent is None else tangent.contiguous()


@no_type_check
def _differentiate_double_backward(operands, constants, *cotangents):
    """Third and higher derivatives, by differentiating a composition of other ops."""

    def compose(*operands):
        return _composed_double_backward(*operands, constants)

    return differentiate_composition(compose, operands, cotangents)


@no_type_check
def _composed_double_backward(x, y, w, g, x_dot, y_dot, w_dot, constants):
    def backward(*operands):
        return torch.ops.equipot.convolve_backward(*operands, g, *constants)

    def forward(*operands):
        return torch.ops.equipot.convolve(*operands, *constants)

    x_dot, y_dot, w_dot = map(with_elements, (x_dot, y_dot, w_dot), (x, y, w))
    _, y_of_x, w_of_x = backward(x_dot, y, w)
    x_of_y, _, w_of_y = backward(x, y_dot, w)
    x_of_w, y_of_w, _ = backward(x, y, w_dot)
    g_bar = forward(x_dot, y, w) + forward(x, y_dot, w) + forward(x, y, w_dot)
    return x_of_y + x_of_w, y_of_x + y_of_w, w_of_x + w_of_y, g_bar


DEFINITIONS = {
    "convolve": Definition(
        f"(Tensor x, Tensor y, Tensor w, {TOPOLOGY_SCHEMA}, {TABLE_SCHEMA}) -> Tensor",
        reference.convolve,
        _fake_convolve,
        _differentiate_convolve,
        num_operands=3,
    ),
    "convolve_backward": Definition(
        "(Tensor x, Tensor y, Tensor w, Tensor g, "
        f"{TOPOLOGY_SCHEMA}, {TABLE_SCHEMA}) -> (Tensor, Tensor, Tensor)",
        reference.convolve_backward,
        _fake_backward,
        _differentiate_backward,
        num_operands=4,
    ),
    "convolve_double_backward": Definition(
        "(Tensor x, Tensor y, Tensor w, Tensor g, "
        "Tensor x_dot, Tensor y_dot, Tensor w_dot, "
        f"{TOPOLOGY_SCHEMA}, {TABLE_SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor)",
        reference.convolve_double_backward,
        _fake_double_backward,
        _differentiate_double_backward,
        num_operands=7,
    ),
}

LIBRARY = torch.library.Library("equipot", "DEF")
for _name, _definition in DEFINITIONS.items():
    define(_name, _definition, LIBRARY)
