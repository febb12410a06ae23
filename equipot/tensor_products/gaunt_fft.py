"""Product of functions on the sphere as a convolution of Fourier series."""

from typing import final

import torch
from jaxtyping import Complex128, Float, Float64
from torch import Tensor

from equipot.constants import Constant
from equipot.graph.connectivity import Connectivity
from equipot.so3.fourier import (
    fourier_to_harmonics,
    harmonics_to_fourier,
    sample_series,
)
from equipot.tensor_products.base import TensorProduct
from equipot.tensor_products.function_product import (
    Degrees,
    FunctionEdges,
    FunctionProduct,
    coupled_degrees,
    message_scales,
    why_not_functions,
)
from equipot.tensor_products.spec import TensorProductSpec


@final
class GauntFFT(TensorProduct[FunctionEdges]):
    r"""Fourier series of features and filter, convolved by fast Fourier transforms.

    .. math:: z^l_k = c_l \, \mathrm{Re} \sum_{u, v \ge 0} (F * H)_{uv} Z_{uvk}

    with the series F and H of the functions of `FunctionPair`. Since functions are
    real, half of the frequencies suffice. All channels share the transforms of the
    filter, which is linear in its weights.

    Exact, and slower than `SphericalGrid`: the torus covers the sphere twice, with more
    points than a quadrature needs.

    Source:
        S. Luo, T. Chen, A. Krishnapriyan, ICLR 2024, section 3.2.
    """

    def __init__(self, spec: TensorProductSpec) -> None:
        super().__init__(spec)
        degrees = coupled_degrees(spec)
        self._shape = padded_shape(degrees)
        self._coefficients = (2 * degrees.features + 1, degrees.features + 1)
        self._orders_out = degrees.messages + 1
        features = harmonics_to_fourier(degrees.features).movedim(0, 2)
        filter = harmonics_to_fourier(degrees.filter).movedim(0, 2)
        self._functions = FunctionProduct(
            spec,
            _real_rows(features),
            sample_series(filter[None], self._shape)[0].flatten(0, 1),
        )
        back = fourier_to_harmonics(self._shape[0] // 2, degrees.messages)
        # Real part of a complex product.
        self._project = Constant(_real_rows(back.conj() * message_scales(spec)).T)

    @staticmethod
    def unsupported(spec: TensorProductSpec) -> str | None:
        """Reject weights per path, and paths that are not summed."""
        return why_not_functions(spec)

    def prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> FunctionEdges:
        """Transforms of the filter, degree by degree."""
        return self._functions.prepare(directions, connectivity)

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        edges: FunctionEdges,
        weights: Float[Tensor, "edges num_weights channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the weighted products over the incoming edges of each node."""
        return self._functions.convolve(x, edges, weights, self._multiply)

    def _multiply(
        self,
        f: Float[Tensor, "edges values channels"],
        h: Float[Tensor, "edges points channels"],
    ) -> Float[Tensor, "edges sph_out channels"]:
        project = self._project.like(f)
        if len(f) == 0:  # torch.fft raises for empty tensors
            return (f[:, :1] * h[:, :1]).expand(-1, len(project), -1)
        real, imaginary = f.unflatten(1, (2, *self._coefficients)).unbind(1)
        samples = sample_series(torch.complex(real, imaginary), self._shape)
        product = samples * h.unflatten(1, self._shape)
        series = torch.fft.rfft2(product, dim=(1, 2), norm="forward")
        series = series[:, :, : self._orders_out]
        rows = torch.stack([series.real, series.imag], dim=1).flatten(1, 3)
        return project.expand(len(f), -1, -1) @ rows


def padded_shape(degrees: Degrees) -> tuple[int, int]:
    """Smallest number of samples in both angles for an exact product.

    Every polar frequency of the product contributes to the messages. In the azimuth,
    only the frequencies of the operands must be resolved. The number of azimuthal
    samples is odd, so higher frequencies of the product are aliased to frequencies of
    opposite parity, whose polar terms `fourier_to_harmonics` discards.
    """
    l_in, l_filter, _ = degrees
    return 2 * (l_in + l_filter) + 1, 2 * max(degrees) + 1


def _real_rows(
    series: Complex128[Tensor, "u v sph"],
) -> Float64[Tensor, "2*u*v sph"]:
    """Real parts of all coefficients, then imaginary parts."""
    return torch.stack([series.real, series.imag]).flatten(0, 2)
