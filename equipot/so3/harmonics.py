"""Real spherical harmonics of unit vectors."""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.constants import Constant
from equipot.so3.coupling import wigner_3j
from equipot.so3.layout import degree_slice


def spherical_harmonics(
    lmax: int, directions: Float[Tensor, "vectors 3"]
) -> Float[Tensor, "vectors sph"]:
    r"""Harmonics of degree 0 to `lmax`, component-normalised.

    .. math:: \sum_m Y^l_m(n)^2 = 2 l + 1, \qquad
              Y^l = c_l \, C^{l-1,1,l} (Y^{l-1} \otimes Y^1)

    Polynomials in the components of the vectors: derivatives of every order are finite
    everywhere, the poles included.

    Args:
        lmax: Highest degree.
        directions: Unit vectors. Of other vectors the result is the homogeneous
            polynomial of degree l, not the harmonic of their direction.

    Returns:
        Components in the order of `equipot.so3.layout`; degree 1 is
        ``sqrt(3) * (x, y, z)``.
    """
    parts = [torch.ones_like(directions[:, :1])]
    if lmax >= 1:
        first = directions * 3**0.5
        parts.append(first)
        for degree in range(2, lmax + 1):
            parts.append(_climb(parts[-1], first, degree))
    return torch.cat(parts, dim=1)


def even_spherical_harmonics(
    lmax: int, axes: Float[Tensor, "vectors 3"]
) -> Float[Tensor, "vectors even_sph"]:
    r"""Harmonics of degree 0, 2, ... to `lmax`: functions of an axis without a sign.

    .. math:: Y^l = c_l \, C^{l-2,2,l} (Y^{l-2} \otimes Y^2)

    Args:
        lmax: Highest degree; degrees are even up to it.
        axes: Unit vectors; u and -u give the same.

    Returns:
        Component-normalised, as the even degrees of `spherical_harmonics`.
    """
    parts = [torch.ones_like(axes[:, :1])]
    if lmax >= 2:
        second = spherical_harmonics(2, axes)[:, degree_slice(2)]
        parts.append(second)
        for degree in range(4, lmax + 1, 2):
            parts.append(_climb(parts[-1], second, degree))
    return torch.cat(parts, dim=1)


def _climb(
    harmonics: Float[Tensor, "vectors sph_low"],
    step: Float[Tensor, "vectors sph_step"],
    degree: int,
) -> Float[Tensor, "vectors sph_high"]:
    """Harmonics of `degree` from those of a lower one and of the difference."""
    product = (harmonics[:, :, None] * step[:, None, :]).flatten(1)
    return product @ _ladder(degree, (step.shape[1] - 1) // 2).like(harmonics)


@cache
def _ladder(degree: int, step: int) -> Constant:
    r"""Map from :math:`Y^{l-s} \otimes Y^s` to :math:`Y^l`.

    The coupling is fixed up to a factor, which follows from the value at the pole y,
    where :math:`Y^l_m = \sqrt{2l+1} \, \delta_{m0}`.
    """
    low = degree - step
    coupling = wigner_3j(low, step, degree)
    product_at_pole = ((2 * low + 1) * (2 * step + 1)) ** 0.5
    at_pole = coupling[low, step, degree] * product_at_pole
    scale = (2 * degree + 1) ** 0.5 / at_pole
    return Constant((scale * coupling).reshape(-1, 2 * degree + 1))
