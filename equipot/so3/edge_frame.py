r"""Frames in which an edge is the polar axis, and rotations of features into them.

The frame of an edge is defined by a half turn about the bisector u of its direction n
and the polar axis y, which swaps both. If n is nearer to -y, a half turn F about x is
applied first:

.. math:: R = (2 u u^T - 1) F, \qquad R n = y, \qquad
          u = \frac{F n + y}{|F n + y|}, \qquad
          F = \begin{cases} 1 & n_y \ge 0 \\ \mathrm{diag}(1, -1, -1) & n_y < 0
              \end{cases}

R is a smooth function of n on either side of the equator, where it jumps by a rotation
about y. Convolutions do not depend on that rotation, so they are smooth everywhere and
their derivatives are correct at the poles and on the equator. A half turn is an even
polynomial in u, so its Wigner matrices are a linear map of the even harmonics of u.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from equipot.constants import Constant
from equipot.so3.coupling import wigner_3j
from equipot.so3.harmonics import even_spherical_harmonics
from equipot.so3.layout import degree_slice, num_components

POLAR_AXIS = Constant([0.0, 1.0, 0.0])
"""Polar axis."""
HALF_TURN_ABOUT_X = Constant([1.0, -1.0, -1.0])
"""Diagonal of the half turn about x."""


class Component(NamedTuple):
    """Component of features in the frame of an edge."""

    degree: int
    order: int
    """Order m, from -l to l."""


class EdgeFrames(NamedTuple):
    """Rotations of the edges to the polar axis."""

    axes: Float[Tensor, "edges even_sph"]
    """Even-degree harmonics of the axis u, up to twice the degree of the features."""
    signs: Float[Tensor, "edges sph"]
    """Signs by which F acts on the components of features."""


def edge_frames(lmax: int, directions: Float[Tensor, "edges 3"]) -> EdgeFrames:
    """Frames of the edges.

    Args:
        lmax: Highest degree of the features to rotate.
        directions: Unit vectors; derivatives are defined along the sphere only.
    """
    down = directions[:, 1:2] < 0
    turned = torch.where(
        down, directions * HALF_TURN_ABOUT_X.like(directions), directions
    )
    bisectors = turned + POLAR_AXIS.like(directions)
    # The norm is at least 1, since neither vector points below the equator.
    axes = bisectors / bisectors.norm(dim=1, keepdim=True)
    signs = _flip_signs(lmax).like(directions)
    return EdgeFrames(
        even_spherical_harmonics(2 * lmax, axes),
        torch.where(down, signs, torch.ones_like(signs)),
    )


@final
class WignerRows:
    """Rows of the Wigner matrices D that rotate features into the frames of edges.

    Args:
        components: Degree and order in the frame, for each row.
        columns: Slice of the components of the features in space, over whole degrees;
            elements between different degrees are zero.
    """

    def __init__(self, components: Sequence[Component], columns: slice) -> None:
        with torch.device("cpu"):  # also within torch.device("meta")
            half_turns = _half_turn_rows(components)[:, :, columns]
        self._columns = columns
        self._shape = half_turns.shape[1:]
        self._map = Constant(half_turns.flatten(1))

    def __call__(self, frames: EdgeFrames) -> Float[Tensor, "edges components columns"]:
        """Evaluate for edge frames of at least the highest degree of the rows."""
        half_turns = self._map.like(frames.axes)
        rows = frames.axes[:, : len(half_turns)] @ half_turns
        signs = frames.signs[:, None, self._columns]
        return rows.unflatten(1, self._shape) * signs


@cache
def half_turn_map(
    degree: int,
) -> Float64[Tensor, "even_sph order_frame order_space"]:
    r"""Linear map from the harmonics of an axis to the half turn about it.

    .. math:: D^l(2 u u^T - 1) = \sum_{L = 0, 2, \dots}^{2l} c_L \sum_M
              C^{l l L}_{m m' M} \, Y^L_M(u), \qquad
              c_L = \sqrt{2L + 1} \, \sum_m (-1)^m \, C^{l l L}_{m m 0}

    The form of the sum follows from equivariance; the coefficients follow from the axis
    y, for which the half turn is diagonal. The result is cached and must not be
    modified.

    Args:
        degree: Degree l of the features.
    """
    orders = torch.arange(-degree, degree + 1)
    about_y = (1 - 2 * (orders % 2)).double()
    blocks = []
    for even in range(0, 2 * degree + 1, 2):
        coupling = wigner_3j(degree, degree, even)
        coefficient = (2 * even + 1) ** 0.5 * coupling[:, :, even].diagonal() @ about_y
        blocks.append(coefficient * coupling.permute(2, 0, 1))
    return torch.cat(blocks)


def _half_turn_rows(
    components: Sequence[Component],
) -> Float64[Tensor, "even_sph components sph"]:
    """Map from the harmonics of the axis to rows of the Wigner matrices."""
    lmax = max((degree for degree, _ in components), default=0)
    num_even = len(half_turn_map(lmax))
    out = torch.zeros(
        num_even, len(components), num_components(lmax), dtype=torch.float64
    )
    for row, (degree, order) in enumerate(components):
        block = half_turn_map(degree)[:, degree + order]
        out[: len(block), row, degree_slice(degree)] = block
    return out


@cache
def _flip_signs(lmax: int) -> Constant:
    r"""Signs of components under F: :math:`(-1)^l`, times -1 for negative m.

    F maps the polar angle to :math:`\pi - \beta` and the azimuth, measured from z
    towards x, to :math:`\pi - \alpha`.
    """
    signs = []
    for degree in range(lmax + 1):
        sign = float((-1) ** degree)
        signs += [-sign] * degree + [sign] * (degree + 1)
    return Constant(signs)
