"""Reference implementation of the edge-frame (SO(2)) ops in plain PyTorch.

Signatures are those of `equipot.ops.so2_convolution`. Every step is differentiable, so
these functions also define the derivatives above the second.
"""

import math
from collections.abc import Sequence
from typing import Any, no_type_check

import torch
from torch import Tensor

from equipot.ops.harmonics import edge_harmonics, harmonic_torque, turn_harmonics
from equipot.ops.reference import with_elements


@no_type_check
def so2_convolve(x, directions, w, rotations, *constants):
    """Derivative of F with respect to g."""
    return torch.ops.equipot.convolve(
        x, _harmonics(directions, constants), w, *constants
    )


@no_type_check
def so2_convolve_backward(x, directions, w, g, rotations, *constants):
    """Derivatives of F with respect to x, directions and w."""
    y = _harmonics(directions, constants)
    x_bar, y_bar, w_bar = torch.ops.equipot.convolve_backward(x, y, w, g, *constants)
    return x_bar, _direction_gradient(directions, y, y_bar), w_bar


@no_type_check
def so2_convolve_double_backward(
    x, directions, w, g, x_dot, directions_dot, w_dot, rotations, *constants
):
    """Derivatives of <x_dot, dF/dx> + <directions_dot, dF/dn> + <w_dot, dF/dw>.

    With respect to x, directions, w and g. An empty tangent stands for zero.
    """
    x_dot, directions_dot, w_dot = map(
        with_elements, (x_dot, directions_dot, w_dot), (x, directions, w)
    )
    y = _harmonics(directions, constants)
    turns = torch.linalg.cross(directions, directions_dot)
    y_dot = turn_harmonics(turns, y)
    x_bar, y_bar, w_bar, g_bar = torch.ops.equipot.convolve_double_backward(
        x, y, w, g, x_dot, y_dot, w_dot, *constants
    )
    _, y_dot_bar, _ = torch.ops.equipot.convolve_backward(x, y, w, g, *constants)
    along = (directions * directions_dot).sum(1, keepdim=True)
    # Generators are antisymmetric; gradients orthogonal to n rotate with it.
    y_bar = y_bar - turn_harmonics(turns, y_dot_bar) - along * y_dot_bar
    return x_bar, _direction_gradient(directions, y, y_bar), w_bar, g_bar


def _harmonics(directions: Tensor, constants: Sequence[Any]) -> Tensor:
    """Harmonics of the degrees that occur as filters of paths."""
    paths = next(value for value in constants if not isinstance(value, Tensor))
    lmax = max(paths[1::3], default=0)
    return edge_harmonics(directions, lmax)


def _direction_gradient(directions: Tensor, y: Tensor, y_bar: Tensor) -> Tensor:
    """Gradient with respect to directions from that with respect to harmonics."""
    return torch.linalg.cross(harmonic_torque(y_bar, y), directions)


@no_type_check
def edge_rotations(directions, lmax):
    """Rotations of features into the frames of edges, in the layout of the kernels.

    For each degree l from 1 on: cosine and sine of l times the azimuth, the matrix of
    the polar rotation between components of order m >= 0, and that between components
    of negative order.
    """
    x, y, z = (directions.double() / directions.double().norm(dim=1, keepdim=True)).mT
    across = torch.hypot(x, z)
    pole = across == 0
    cos_a = torch.where(pole, 1.0, z / across)
    sin_a = torch.where(pole, 0.0, x / across)
    cos_la, sin_la = cos_a, sin_a
    blocks = _polar_rotations(y, across, lmax)
    parts = []
    for degree in range(1, lmax + 1):
        plus, minus = blocks[degree]
        parts += [cos_la[:, None], sin_la[:, None]]
        parts += [plus.flatten(1), minus[:, 1:, 1:].flatten(1)]
        cos_la, sin_la = (
            cos_la * cos_a - sin_la * sin_a,
            sin_la * cos_a + cos_la * sin_a,
        )
    if not parts:
        return directions.new_empty(len(directions), 0)
    return torch.cat(parts, 1).to(directions.dtype)


def _polar_rotations(
    cosine: Tensor, sine: Tensor, lmax: int
) -> list[tuple[Tensor, Tensor]]:
    """Blocks of :math:`D^l(R_x(-b))` for orders of equal sign, for all l.

    Source:
        Recurrence of Wigner's d matrices in l: P. J. Kostelec and D. N. Rockmore,
        J. Fourier Anal. Appl. 14, 145 (2008).
    """
    one = torch.ones_like(cosine)
    blocks = [(one[:, None, None], 0 * one[:, None, None])]
    for degree in range(1, lmax + 1):
        plus = cosine.new_zeros(len(cosine), degree + 1, degree + 1)
        minus = torch.zeros_like(plus)
        for m in range(degree + 1):
            p, n = _first_rotation(cosine, sine, degree, m)
            sign = (-1) ** (degree - m)
            plus[:, degree, m], minus[:, degree, m] = sign * p, sign * n
            plus[:, m, degree], minus[:, m, degree] = p, n
        for m in range(degree):
            for k in range(degree):
                a, b, c = _recurrence(degree, m, k)
                p, n = (block[:, m, k] for block in blocks[-1])
                plus[:, m, k] = a * cosine * p - b * n
                minus[:, m, k] = a * cosine * n - b * p
                if max(m, k) < degree - 1:
                    plus[:, m, k] -= c * blocks[-2][0][:, m, k]
                    minus[:, m, k] -= c * blocks[-2][1][:, m, k]
        blocks.append((plus, minus))
    return blocks


def _first_rotation(
    cosine: Tensor, sine: Tensor, degree: int, m: int
) -> tuple[Tensor, Tensor]:
    """Elements (m, degree) of both blocks."""
    norm = math.sqrt(math.comb(2 * degree, degree + m) / (2 if m == 0 else 1))
    factor = norm * (sine / 2) ** (degree - m)
    up, down = ((1 + cosine) / 2) ** m, (-1) ** m * ((1 - cosine) / 2) ** m
    return factor * (up + down), factor * (up - down)


def _recurrence(degree: int, m: int, k: int) -> tuple[float, float, float]:
    """Coefficients of the two lower degrees in the recurrence."""
    below = degree - 1
    norm = math.sqrt((degree**2 - m**2) * (degree**2 - k**2))
    a = (2 * degree - 1) * degree / norm
    if below == 0:
        return a, 0.0, 0.0
    b = (2 * degree - 1) * m * k / (below * norm)
    c = degree * math.sqrt((below**2 - m**2) * (below**2 - k**2)) / (below * norm)
    return a, b, c
