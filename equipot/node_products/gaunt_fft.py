"""Products of functions on the sphere by Fourier series on the torus."""

import math
from typing import NamedTuple, final

import torch
from jaxtyping import Complex128, Float, Float64, Int
from torch import Tensor

from equipot.constants import Constant
from equipot.node_products.base import NodeProduct, weights_of_nodes
from equipot.node_products.degree_weights import DegreeWeights, why_not_functions
from equipot.node_products.spec import NodeProductSpec
from equipot.so3 import num_components
from equipot.so3.fourier import (
    fourier_to_harmonics,
    harmonics_to_fourier,
    sample_series,
)


class Torus(NamedTuple):
    """Sampling and projection for products of one number of factors."""

    shape: tuple[int, int]
    """Number of samples in the polar and the azimuthal angle."""
    project: Constant
    """Map from real, then imaginary parts of the series to coefficients."""
    lmax_out: int
    """Highest degree of the result that the factors can couple to."""


@final
class GauntFFT(NodeProduct):
    r"""Sample Fourier series of the factors on the torus and multiply pointwise.

    .. math:: z^l_k = \sum_n \alpha_{nl} v_{nl} \, \mathrm{Re} \sum_{u, v \ge 0}
              (F_{n1} * \dots * F_{nn})_{uv} \, Z_{uvk}

    All factors are padded to the frequencies of their product. Exact, but slower than
    `SphericalGrid`: the torus covers the sphere twice and has more points than a
    quadrature rule.

    Source:
        S. Luo, T. Chen, A. Krishnapriyan, ICLR 2024.
    """

    def __init__(self, spec: NodeProductSpec) -> None:
        super().__init__(spec)
        self._weights = DegreeWeights(spec)
        self._coefficients = (2 * spec.lmax_in + 1, spec.lmax_in + 1)
        norm = (4 * math.pi) ** -0.5
        series = harmonics_to_fourier(spec.lmax_in).movedim(0, 2)
        self._expand = Constant(norm * _real_rows(series))
        self._tori = [_torus(spec, order) for order in spec.orders]

    @staticmethod
    def unsupported(spec: NodeProductSpec) -> str | None:
        """Reject weights per path."""
        return why_not_functions(spec)

    def product(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        weights: Float[Tensor, "rows num_weights channels"],
        rows: Int[Tensor, " nodes"] | None,
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the products of 1 to `spec.order` factors."""
        weights = weights_of_nodes(weights, rows)
        total = x.new_zeros(len(x), self.spec.num_outputs, x.shape[2])
        if x.numel() == 0:
            # MKL cannot transform empty tensors; the result depends on the operands.
            return total + weights[:, :1] * x[:, :1]
        products = self._weights.products(x, weights)
        for torus, (factors, result) in zip(self._tori, products, strict=True):
            first, *others = factors.unbind(1)
            samples = self._sample(first, torus)
            for factor in others:
                samples = samples * self._sample(factor, torus)
            total = total + result * _project(samples, torus)
        return total

    def _sample(
        self, function: Float[Tensor, "nodes sph_in channels"], torus: Torus
    ) -> Float[Tensor, "nodes _theta _phi channels"]:
        """Values of a function on the torus."""
        rows = self._expand.like(function) @ function
        real, imaginary = rows.unflatten(1, (2, *self._coefficients)).unbind(1)
        return sample_series(torch.complex(real, imaginary), torus.shape)


def _project(
    samples: Float[Tensor, "nodes theta phi channels"], torus: Torus
) -> Float[Tensor, "nodes sph_out channels"]:
    """Coefficients of a function from its values on the torus."""
    series = torch.fft.rfft2(samples, dim=(1, 2), norm="forward")
    series = series[:, :, : torus.lmax_out + 1]
    rows = torch.stack([series.real, series.imag], dim=1).flatten(1, 3)
    return torus.project.like(samples) @ rows


def _torus(spec: NodeProductSpec, order: int) -> Torus:
    """Smallest number of samples for an exact product, and the projection.

    Every polar frequency of the product contributes to the result. In the azimuth, the
    frequencies of one factor and of the result must be resolved. The number N of
    samples is odd, so frequencies aliased once to a frequency of the result have the
    opposite parity, whose polar terms `fourier_to_harmonics` discards. Frequencies that
    would be aliased twice, by 2 N, must not occur.
    """
    highest = order * spec.lmax_in
    lmax_out = min(spec.lmax_out, highest)
    back = fourier_to_harmonics(highest, lmax_out) * (4 * math.pi) ** -0.5
    # Real part of a complex product.
    project = _real_rows(back.conj()).T
    out_of_reach = spec.num_outputs - num_components(lmax_out)
    project = torch.nn.functional.pad(project, (0, 0, 0, out_of_reach))
    azimuths = max(2 * spec.lmax_in, 2 * lmax_out, (highest + lmax_out) // 2) + 1
    shape = (2 * highest + 1, azimuths + 1 - azimuths % 2)
    return Torus(shape, Constant(project), lmax_out)


def _real_rows(
    series: Complex128[Tensor, "u v sph"],
) -> Float64[Tensor, "2*u*v sph"]:
    """Real parts of all coefficients, then imaginary parts."""
    return torch.stack([series.real, series.imag]).flatten(0, 2)
