r"""Transformation between path weights and weights in the frame of an edge.

In the frame of the edge, harmonics vanish except for m = 0, and the product maps
components of one :math:`|m|` to each other, here for m >= 0:

.. math:: z_{l_3, +m} = \sum_{l_1} W^c_{m l_3 l_1} x_{l_1, +m}
                                 - W^s_{m l_3 l_1} x_{l_1, -m}, \qquad
          z_{l_3, -m} = \sum_{l_1} W^s_{m l_3 l_1} x_{l_1, +m}
                                 + W^c_{m l_3 l_1} x_{l_1, -m}

Source:
    The reduction to SO(2): S. Passaro and C. L. Zitnick, ICML 2023 (arXiv:2302.03655).
"""

import math
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from equipot.so3 import wigner_3j
from equipot.tensor_products.spec import TensorProductSpec


class SO2Weight(NamedTuple):
    """One weight in the frame of an edge."""

    l_in: int
    l_out: int
    order: int
    """Absolute value of m."""
    swaps: bool
    """Whether it is W^s, which maps m to -m, or W^c."""


def so2_weights(spec: TensorProductSpec) -> tuple[SO2Weight, ...]:
    """Weights of a product in the frame of an edge.

    Weights that swap m and -m belong to paths of odd l1 + l2 + l3 and are absent with
    symmetry "O(3)".
    """
    return tuple(
        SO2Weight(l_in, l_out, order, swaps)
        for l_out in range(spec.lmax_out + 1)
        for l_in in range(spec.lmax_in + 1)
        for swaps in ([False] if spec.symmetry == "O(3)" else [False, True])
        for order in range(int(swaps), min(l_in, l_out) + 1)
    )


@cache
def paths_to_so2(spec: TensorProductSpec) -> Float64[Tensor, "so2_weights paths"]:
    r"""Matrix from the weights of `spec.paths` to those of `so2_weights`.

    .. math:: W^c_m = \sum_{l_2} \alpha_p \sqrt{2 l_2 + 1} \, C_{m, 0, m} \, w_p, \qquad
              W^s_m = \sum_{l_2} \alpha_p \sqrt{2 l_2 + 1} \, C_{m, 0, -m} \, w_p

    If the filter has all degrees up to `lmax_in + lmax_out`, the matrix is square and,
    apart from the coefficients :math:`\alpha`, orthogonal after multiplying the rows of
    m > 0 by :math:`\sqrt 2`; the transformation is thus well conditioned. A filter of
    lower degree spans a subspace. The result is cached and must not be modified.
    """
    return _overlaps(spec) * _coefficients(spec)


@cache
def so2_to_paths(spec: TensorProductSpec) -> Float64[Tensor, "paths so2_weights"]:
    r"""Matrix from the weights of `so2_weights` to those of `spec.paths`.

    .. math:: w_p = \frac{\sqrt{2 l_2 + 1}}{\alpha_p}
                    \sum_m \kappa_m \, C_{m, 0, \pm m} \, W_m, \qquad
              \kappa_0 = 1, \; \kappa_{m > 0} = 2

    Inverse of `paths_to_so2` if the filter has all degrees up to
    `lmax_in + lmax_out`. For a filter of lower degree it is the left inverse and
    projects any other product on the available paths. The result is cached and must not
    be modified.
    """
    kappas = [2.0 if weight.order else 1.0 for weight in so2_weights(spec)]
    weighted = _overlaps(spec) * torch.tensor(kappas, dtype=torch.float64)[:, None]
    return (weighted / _coefficients(spec)).T


def _overlaps(spec: TensorProductSpec) -> Float64[Tensor, "so2_weights paths"]:
    """Couplings of component 0 of the filter, times its value on the polar axis."""
    rows = {weight: n for n, weight in enumerate(so2_weights(spec))}
    out = torch.zeros(len(rows), len(spec.paths), dtype=torch.float64)
    for column, path in enumerate(spec.paths):
        l_in, l_filter, l_out = path
        coupling = math.sqrt(2 * l_filter + 1) * wigner_3j(*path)[:, l_filter]
        swaps = bool(sum(path) % 2)
        for order in range(int(swaps), min(l_in, l_out) + 1):
            row = rows[SO2Weight(l_in, l_out, order, swaps)]
            order_out = -order if swaps else order
            out[row, column] = coupling[l_in + order, l_out + order_out]
    return out


def _coefficients(spec: TensorProductSpec) -> Float64[Tensor, " paths"]:
    return torch.tensor(spec.path_coefficients(), dtype=torch.float64)
