"""Normalization constants that give results of unit second moment."""

import math

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from equipot.node_products.couplings import symmetric_couplings
from equipot.node_products.spec import Block, NodeProductSpec


def coupling_scales(spec: NodeProductSpec) -> list[Float64[Tensor, " couplings"]]:
    r"""Normalization of the couplings of each block, for weights per path.

    .. math:: \alpha_{nlq}^{-2} = N_l \, Q_{nl} \, \langle U^{nlq}_k(x)^2 \rangle

    for standard normal features x, where :math:`N_l` is the number of orders with
    couplings to degree l and :math:`Q_{nl}` the number of couplings of n factors.
    """
    scales = []
    for block in spec.blocks:
        degree = block.irrep.degree
        equals = [other for other in spec.blocks if other.irrep.degree == degree]
        orders = len({other.order for other in equals})
        couplings = sum(b.num_couplings for b in equals if b.order == block.order)
        scales.append((orders * couplings * _second_moments(spec, block)).rsqrt())
    return scales


def degree_scales(spec: NodeProductSpec) -> Float64[Tensor, "orders degrees"]:
    r"""Normalization of the degrees of each order, for weights per degree.

    .. math:: \alpha_{nl}^{-2} = N_l \, 2 \pi \int_{-1}^1 P_l(t) \,
              \Big\langle \prod_{k=1}^n f_{nk}(\omega) f_{nk}(\omega') \Big\rangle \, dt

    for standard normal features and weights and :math:`\omega \cdot \omega' = t`; zero
    if n factors do not couple to degree l.
    """
    highest = spec.order * spec.lmax_in + spec.lmax_out
    t, dt = np.polynomial.legendre.leggauss(highest // 2 + 1)
    legendre = np.polynomial.legendre.legvander(t, max(spec.lmax_in, spec.lmax_out))
    correlations = _correlations(spec, legendre)
    moments = 2 * math.pi * (correlations * dt) @ legendre[:, : spec.lmax_out + 1]
    reached = np.array(
        [
            [degree <= order * spec.lmax_in for degree in range(spec.lmax_out + 1)]
            for order in spec.orders
        ]
    )
    summed = reached.sum(axis=0) * np.where(reached, moments, 1)
    return torch.from_numpy(np.where(reached, np.maximum(summed, 1e-300) ** -0.5, 0))


def _second_moments(
    spec: NodeProductSpec, block: Block
) -> Float64[Tensor, " couplings"]:
    if block.order == 1:
        return torch.ones(1, dtype=torch.float64)
    basis = symmetric_couplings(spec.lmax_in, block.order, block.irrep)
    return basis.second_moments


def _correlations(spec: NodeProductSpec, legendre: np.ndarray) -> np.ndarray:
    r"""Mean product of n functions at two points, for all n and angles.

    A function is a sum over degrees of independent Gaussian fields g_l. Weights of
    different factors are independent, so the degree of each factor is the same at both
    points, and the result is the mean of :math:`(\sum_l g_l(\omega) g_l(\omega'))^n`.
    """
    points = len(legendre)
    total = [np.ones(points)] + [np.zeros(points) for _ in spec.orders]
    for degree in range(spec.lmax_in + 1):
        variance = (2 * degree + 1) / (4 * math.pi)
        moments = [
            _bivariate_moment(n, variance, variance * legendre[:, degree])
            for n in range(spec.order + 1)
        ]
        total = [
            sum(
                (math.comb(n, k) * moments[k] * total[n - k] for k in range(n + 1)),
                start=np.zeros(points),
            )
            for n in range(spec.order + 1)
        ]
    return np.stack(total[1:])


def _bivariate_moment(
    power: int, variance: float, covariance: np.ndarray
) -> np.ndarray:
    r"""Mean of :math:`(u v)^n` of two Gaussian variables of equal variance.

    Source:
        Isserlis' theorem, summed over the number of (u, v) pairs.
    """
    total = np.zeros_like(covariance)
    for mixed in range(power % 2, power + 1, 2):
        own = (power - mixed) // 2
        ways = math.factorial(power) / (
            math.factorial(mixed) * math.factorial(own) * 2**own
        )
        total += (
            ways**2
            * math.factorial(mixed)
            * covariance**mixed
            * variance ** (power - mixed)
        )
    return total
