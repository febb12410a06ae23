r"""Ops of the convolution in the frames of edges, for high degrees.

In a frame with the edge along y, the harmonics of its direction vanish except for
m = 0. Components of features and messages with equal :math:`|m|` are then mixed by sums
W of path weights, and an edge takes :math:`O(L^3)` operations per channel instead of
:math:`O(L^5)`. With the rotations D into the frames,

.. math:: F(x, n, w, g) = \sum_e \langle D_e g_{r(e)}, W(w_e) \, D_e x_{s(e)} \rangle .

F does not depend on the rotation of the frame about the edge. The derivative with
respect to the direction n is therefore that under rotations of x and g about the two
axes orthogonal to the edge. Derivatives of any order are correct at the poles of the
frames, where D is not differentiable.

Gradients with respect to n are orthogonal to n, as for a function of the direction of a
vector. Functions of vectors that are normalized first thus have correct derivatives of
every order. Derivatives above the second are composed of `equipot.ops.convolution`.

Source:
    Mixing per order m: S. Passaro and C. L. Zitnick, ICML 2023.
"""

from typing import NamedTuple, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.graph.connectivity import CompressedEdges
from equipot.ops import so2_reference as reference
from equipot.ops.convolution import (
    LIBRARY,
    TABLE_SCHEMA,
    TOPOLOGY_SCHEMA,
    Table,
    present,
)
from equipot.ops.registration import Definition, define, differentiate_composition

MAX_DEGREE = 6
"""Highest degree of features and messages."""


class EdgeRotations(NamedTuple):
    """Directions of edges and rotations into their frames."""

    directions: Float[Tensor, "edges 3"]
    elements: Float[Tensor, "edges elements"]
    """Elements of the rotation matrices of all degrees, as the kernels take them."""


def edge_rotations(directions: Float[Tensor, "edges 3"], lmax: int) -> EdgeRotations:
    """Rotations for features and messages up to `lmax`, shared by all convolutions.

    Args:
        directions: Unit vectors.
        lmax: Highest degree, up to `MAX_DEGREE`.
    """
    directions = directions.contiguous()
    elements = torch.ops.equipot.edge_rotations(directions.detach(), lmax)
    return EdgeRotations(directions, elements)


def so2_convolve(
    x: Float[Tensor, "nodes sph_in channels"],
    rotations: EdgeRotations,
    w: Float[Tensor, "edges paths channels"],
    edges: CompressedEdges,
    table: Table,
) -> Float[Tensor, "nodes sph_out channels"]:
    """Sum of the messages of incoming edges, differentiable to any order.

    Args:
        x: Node features.
        rotations: Rotations into the frames of the edges.
        w: Path weights of the edges.
        edges: Edges, sorted by receiver.
        table: Paths and coupling coefficients; paths to the same degree are summed.
    """
    out: Tensor = torch.ops.equipot.so2_convolve(
        x.contiguous(),
        rotations.directions,
        w.contiguous(),
        rotations.elements,
        *edges,
        *table,
    )
    return out


@no_type_check
def _fake_rotations(directions, lmax):
    size = sum(2 + (degree + 1) ** 2 + degree**2 for degree in range(1, lmax + 1))
    return directions.new_empty((directions.shape[0], size))


@no_type_check
def _fake_convolve(x, directions, w, rotations, *constants):
    return x.new_empty((x.shape[0], constants[-2], x.shape[2]))


@no_type_check
def _fake_backward(x, directions, w, *others):
    return tuple(torch.empty_like(t) for t in (x, directions, w))


@no_type_check
def _fake_double_backward(x, directions, w, g, *others):
    return tuple(torch.empty_like(t) for t in (x, directions, w, g))


@no_type_check
def _differentiate_convolve(operands, constants, g):
    return torch.ops.equipot.so2_convolve_backward(
        *operands, g.contiguous(), *constants
    )


@no_type_check
def _differentiate_backward(operands, constants, *tangents):
    tangents = map(present, tangents, operands[:3])
    return torch.ops.equipot.so2_convolve_double_backward(
        *operands, *tangents, *constants
    )


@no_type_check
def _differentiate_double_backward(operands, constants, *cotangents):
    def compose(*operands):
        return reference.so2_convolve_double_backward(*operands, *constants)

    return differentiate_composition(compose, operands, cotangents)


CONSTANTS_SCHEMA = f"Tensor rotations, {TOPOLOGY_SCHEMA}, {TABLE_SCHEMA}"
DEFINITIONS = {
    "edge_rotations": Definition(
        "(Tensor directions, int lmax) -> Tensor",
        reference.edge_rotations,
        _fake_rotations,
    ),
    "so2_convolve": Definition(
        f"(Tensor x, Tensor directions, Tensor w, {CONSTANTS_SCHEMA}) -> Tensor",
        reference.so2_convolve,
        _fake_convolve,
        _differentiate_convolve,
        num_operands=3,
    ),
    "so2_convolve_backward": Definition(
        "(Tensor x, Tensor directions, Tensor w, Tensor g, "
        f"{CONSTANTS_SCHEMA}) -> (Tensor, Tensor, Tensor)",
        reference.so2_convolve_backward,
        _fake_backward,
        _differentiate_backward,
        num_operands=4,
    ),
    "so2_convolve_double_backward": Definition(
        "(Tensor x, Tensor directions, Tensor w, Tensor g, "
        "Tensor x_dot, Tensor directions_dot, Tensor w_dot, "
        f"{CONSTANTS_SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor)",
        reference.so2_convolve_double_backward,
        _fake_double_backward,
        _differentiate_double_backward,
        num_operands=7,
    ),
}
for _name, _definition in DEFINITIONS.items():
    define(_name, _definition, LIBRARY)
