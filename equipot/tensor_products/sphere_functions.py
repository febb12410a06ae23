"""Functions on the sphere whose products couple features with edges."""

from functools import cache
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from equipot.constants import Constant
from equipot.so3 import degree_of_component, rotation_generators


class FunctionMaps(NamedTuple):
    """Linear maps of each edge to the values of both functions."""

    features: Float[Tensor, "edges values sph_in"]
    """Map from the weighted features."""
    filter: Float[Tensor, "edges points degrees"]
    """Map from the weights of the filter."""


@final
class FunctionPair:
    r"""Two functions whose product has the paths of one parity of l1 + l2 + l3.

    For even paths, with harmonics of unit norm on the sphere, they are

    .. math:: f(\omega) = \sum_l x^l \cdot Y^l(\omega), \qquad
              h(n \cdot \omega) = \sum_l b_l \, Y^l(n) \cdot Y^l(\omega).

    Odd paths are those of the bracket of f and h. Since h depends on the angle to the
    edge only, the bracket is a product of the derivative of f with respect to rotations
    about the edge and the derivative of h:

    .. math:: \omega \cdot (\nabla f \times \nabla h)
              = \big[ n \cdot (\omega \times \nabla) f \big] \; h'(n \cdot \omega)

    Gradients are normalized as in `bracket_factor`.

    Args:
        lmax_in: Highest degree of the features.
        lmax_filter: Highest degree of the filter.
        odd: Whether to couple odd paths instead of even ones.
        features: Map from coefficients of component-normalized harmonics to values that
            represent f.
        filter: Map from coefficients of component-normalized harmonics to values of h
            at points.
    """

    def __init__(
        self,
        lmax_in: int,
        lmax_filter: int,
        odd: bool,
        features: Float64[Tensor, "values sph_in"],
        filter: Float64[Tensor, "points sph_filter"],
    ) -> None:
        self._odd = odd
        self._features = Constant(features @ _turns(lmax_in).mT if odd else features)
        zonal = _derivatives(lmax_filter) if odd else component_has_degree(lmax_filter)
        self._filter = Constant(torch.einsum("pj,jl->jpl", filter, zonal))

    def prepare(
        self,
        directions: Float[Tensor, "edges 3"],
        harmonics: Float[Tensor, "edges sph_filter"],
    ) -> FunctionMaps:
        """Maps for edges of the given directions and harmonics."""
        features = self._features.like(directions)
        if self._odd:
            features = torch.tensordot(directions, features, dims=1)
        else:
            features = features.expand(len(directions), -1, -1)
        filter = self._filter.like(harmonics)
        return FunctionMaps(features, torch.tensordot(harmonics, filter, dims=1))


@cache
def component_has_degree(lmax: int) -> Float64[Tensor, "sph degrees"]:
    """Indicator matrix of the degree of each component; must not be modified."""
    degrees = degree_of_component(lmax)
    return (degrees[:, None] == torch.arange(lmax + 1)).double()


def _derivatives(lmax: int) -> Float64[Tensor, "sph degrees"]:
    r"""Coefficients of the derivatives of zonal functions.

    .. math:: P'_l = (2l - 1) P_{l-1} + (2l - 5) P_{l-3} + \dots, \qquad
              Y^l(n) \cdot Y^l(\omega) = (2l + 1) \, P_l(n \cdot \omega)

    for component-normalized harmonics: every second lower degree contributes equally.
    """
    lower = degree_of_component(lmax)[:, None]
    degrees = torch.arange(lmax + 1)
    contributes = (lower < degrees) & ((degrees - lower) % 2 == 1)
    return contributes * (2 * degrees + 1) * _gradient_norm(degrees)


def _turns(lmax: int) -> Float64[Tensor, "3 sph sph"]:
    r"""Coefficients of :math:`\omega \times \nabla` of normalized harmonics."""
    norm = _gradient_norm(degree_of_component(lmax))
    return rotation_generators(lmax) * norm[:, None]


def _gradient_norm(degrees: Int[Tensor, " _"]) -> Float64[Tensor, " _"]:
    r"""Factor :math:`1 / \sqrt{l (l + 1)}` that normalizes gradients; 0 for l = 0."""
    norms = (degrees * (degrees + 1)).double().sqrt()
    return torch.where(degrees > 0, 1 / norms.clamp(min=1), 0)
