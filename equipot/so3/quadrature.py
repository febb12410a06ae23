"""Quadrature rules on the sphere that are exact up to a given degree."""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from scipy.integrate import lebedev_rule
from torch import Tensor

LEBEDEV_DEGREES = (*range(3, 33, 2), *range(35, 132, 6))
"""Degrees of the published Lebedev rules."""


class Quadrature(NamedTuple):
    r"""Points and weights with :math:`\int f \, d\omega = \sum_g w_g f(\omega_g)`."""

    points: Float64[Tensor, "points 3"]
    """Unit vectors."""
    weights: Float64[Tensor, " points"]
    r"""Weights in steradian; their sum is :math:`4\pi`."""


@cache
def sphere_quadrature(degree: int) -> Quadrature:
    """Smallest available quadrature rule that is exact for a degree.

    It is a Lebedev rule from degree 2 to 131. The Lebedev rules of degree 13, 25 and 27
    have negative weights, whose cancellation would amplify rounding errors; the next
    rule is used instead.

    The result is cached and must not be modified.

    Args:
        degree: Highest degree of the polynomials to integrate; for products of
            functions, the sum of their degrees.

    Raises:
        ValueError: If `degree` is negative.
    """
    product = gauss_legendre(degree)
    for lebedev_degree in LEBEDEV_DEGREES:
        if lebedev_degree >= degree:
            rule = lebedev(lebedev_degree)
            if bool((rule.weights > 0).all()):
                return min(rule, product, key=lambda rule: len(rule.points))
    return product


def gauss_legendre(degree: int) -> Quadrature:
    r"""Product rule: Gauss-Legendre in the polar angle, equidistant azimuths.

    :math:`\lceil (D + 1) / 2 \rceil \times (D + 1)` points for degree D. The polar axis
    is y, and azimuths start at z, as in e3nn.

    Args:
        degree: Highest degree of the polynomials that are integrated exactly.

    Raises:
        ValueError: If `degree` is negative.

    Source:
        K. Atkinson and W. Han, *Spherical Harmonics and Approximations on the Unit
        Sphere* (Springer, 2012), section 5.1.
    """
    if degree < 0:
        raise ValueError(f"degree must not be negative, got {degree}")
    cosines, polar_weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    y = torch.from_numpy(cosines)[:, None]
    azimuths = torch.arange(degree + 1, dtype=torch.float64) * 2 * math.pi
    azimuths = azimuths / (degree + 1)
    radius = (1 - y**2).sqrt()
    points = torch.stack(
        torch.broadcast_tensors(radius * azimuths.sin(), y, radius * azimuths.cos()),
        dim=-1,
    )
    weights = torch.from_numpy(polar_weights) * 2 * math.pi / (degree + 1)
    return Quadrature(points.flatten(0, 1), weights.repeat_interleave(degree + 1))


def lebedev(degree: int) -> Quadrature:
    """Lebedev rule, invariant under the octahedral group.

    Args:
        degree: One of `LEBEDEV_DEGREES`.

    Raises:
        ValueError: If there is no rule of that degree.

    Source:
        V. I. Lebedev and D. N. Laikov, Dokl. Math. 59, 477 (1999).
    """
    if degree not in LEBEDEV_DEGREES:
        raise ValueError(
            f"no Lebedev rule of degree {degree}; available degrees are "
            f"{', '.join(map(str, LEBEDEV_DEGREES))}"
        )
    points, weights = lebedev_rule(degree)
    return Quadrature(torch.tensor(points.T.copy()), torch.tensor(weights))
