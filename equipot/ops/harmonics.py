r"""Ops of the harmonics of directions, whose derivatives are ops of the same family.

An infinitesimal rotation :math:`\omega` of a direction n changes its harmonics by
:math:`\sum_a \omega_a J_a Y` with the generators J, and a displacement of n orthogonal
to n is a rotation by :math:`n \times \dot n`. The three ops are derivatives of each
other. The constants J are internal to them and thus not captured by graph tracers.
"""

import math
from typing import no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.ops.convolution import LIBRARY
from equipot.ops.registration import Definition, define
from equipot.so3 import rotation_generators, spherical_harmonics


def edge_harmonics(
    directions: Float[Tensor, "edges 3"], lmax: int
) -> Float[Tensor, "edges sph"]:
    """Harmonics of degree 0 to `lmax`, component-normalized.

    Args:
        directions: Unit vectors; gradients are orthogonal to them.
        lmax: Highest degree.
    """
    out: Tensor = torch.ops.equipot.edge_harmonics(directions, lmax)
    return out


def turn_harmonics(
    turns: Float[Tensor, "edges 3"], y: Float[Tensor, "edges sph"]
) -> Float[Tensor, "edges sph"]:
    r"""Derivative of y under rotations of the edges, :math:`\sum_a \omega_a J_a y`.

    Args:
        turns: Infinitesimal rotations :math:`\omega`.
        y: Components of degree 0 to some lmax.
    """
    out: Tensor = torch.ops.equipot.turn_harmonics(turns, y)
    return out


def harmonic_torque(
    a: Float[Tensor, "edges sph"], b: Float[Tensor, "edges sph"]
) -> Float[Tensor, "edges 3"]:
    r"""Products :math:`\langle a, J b \rangle` for rotations about x, y and z.

    Args:
        a: Components of degree 0 to some lmax, such as a gradient.
        b: Components that are rotated.
    """
    out: Tensor = torch.ops.equipot.harmonic_torque(a, b)
    return out


@no_type_check
def _edge_harmonics(directions, lmax):
    return spherical_harmonics(lmax, directions / directions.norm(dim=1, keepdim=True))


@no_type_check
def _turn_harmonics(turns, y):
    return torch.einsum("ea,aij,ej->ei", turns, _generators(y), y)


@no_type_check
def _harmonic_torque(a, b):
    return torch.einsum("ei,aij,ej->ea", a, _generators(b), b)


@no_type_check
def _generators(y):
    return rotation_generators(math.isqrt(y.shape[1]) - 1).to(y)


@no_type_check
def _fake_harmonics(directions, lmax):
    return directions.new_empty((directions.shape[0], (lmax + 1) ** 2))


@no_type_check
def _fake_turn(turns, y):
    return torch.empty_like(y)


@no_type_check
def _fake_torque(a, b):
    return a.new_empty((a.shape[0], 3))


@no_type_check
def _differentiate_harmonics(operands, constants, g):
    (directions,) = operands
    torque = harmonic_torque(g, edge_harmonics(directions, *constants))
    return (torch.linalg.cross(torque, directions),)


@no_type_check
def _differentiate_turn(operands, constants, g):
    turns, y = operands
    return harmonic_torque(g, y), -turn_harmonics(turns, g)


@no_type_check
def _differentiate_torque(operands, constants, g):
    a, b = operands
    return turn_harmonics(g, b), -turn_harmonics(g, a)


DEFINITIONS = {
    "edge_harmonics": Definition(
        "(Tensor directions, int lmax) -> Tensor",
        _edge_harmonics,
        _fake_harmonics,
        _differentiate_harmonics,
        num_operands=1,
    ),
    "turn_harmonics": Definition(
        "(Tensor turns, Tensor y) -> Tensor",
        _turn_harmonics,
        _fake_turn,
        _differentiate_turn,
        num_operands=2,
    ),
    "harmonic_torque": Definition(
        "(Tensor a, Tensor b) -> Tensor",
        _harmonic_torque,
        _fake_torque,
        _differentiate_torque,
        num_operands=2,
    ),
}
for _name, _definition in DEFINITIONS.items():
    define(_name, _definition, LIBRARY)
