"""Real spherical harmonics of unit vectors."""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.constants import Constant
from equipot.so3.coupling import wigner_3j


@cache
def _ladder(degree: int) -> Constant:
    r"""Map from :math:`Y^{l-1} \otimes Y^1` to :math:`Y^l`.

    The coupling is fixed up to a factor, which follows from the value at the pole y,
    where :math:`Y^l_m = \sqrt{2l+1} \, \delta_{m0}`.
    """
    coupling = wigner_3j(degree - 1, 1, degree)
    at_pole = coupling[degree - 1, 1, degree] * (2 * degree - 1) ** 0.5 * 3**0.5
    scale = (2 * degree + 1) ** 0.5 / at_pole
    return Constant((scale * coupling).reshape(-1, 2 * degree + 1))


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
            product = (parts[-1][:, :, None] * first[:, None, :]).flatten(1)
            parts.append(product @ _ladder(degree).like(directions))
    return torch.cat(parts, dim=1)
