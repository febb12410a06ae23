"""Product of functions on the sphere by quadrature on a grid."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from equipot.constants import Constant
from equipot.graph.connectivity import Connectivity
from equipot.so3 import spherical_harmonics
from equipot.so3.quadrature import sphere_quadrature
from equipot.tensor_products.base import TensorProduct
from equipot.tensor_products.function_product import (
    FunctionEdges,
    FunctionProduct,
    coupled_degrees,
    message_scales,
    why_not_functions,
)
from equipot.tensor_products.spec import TensorProductSpec


@final
class SphericalGrid(TensorProduct[FunctionEdges]):
    r"""Evaluate features and filter on a grid, multiply pointwise, and project back.

    .. math:: z^l_k = c_l \sum_g w_g \, Y^l_k(\omega_g) \, f(\omega_g) \, h(\omega_g)

    with the functions of `FunctionPair`. The quadrature is exact for the degree of the
    integrand, so the result equals the Clebsch-Gordan product up to rounding errors.

    Radial weights multiply the degrees of features and messages, so the transforms to
    the grid and back are evaluated per edge. With weights of the filter only they could
    be evaluated per node.

    Source:
        Y. Xie, A. Daigavane, M. Kotak, T. Smidt, ICML 2025, arXiv:2506.13523.
    """

    def __init__(self, spec: TensorProductSpec) -> None:
        super().__init__(spec)
        degrees = coupled_degrees(spec)
        points, areas = sphere_quadrature(sum(degrees))
        l_in, l_filter, l_out = (spherical_harmonics(lmax, points) for lmax in degrees)
        self.num_points = len(points)
        self._functions = FunctionProduct(spec, l_in, l_filter)
        self._project = Constant((areas[:, None] * l_out * message_scales(spec)).T)

    @staticmethod
    def unsupported(spec: TensorProductSpec) -> str | None:
        """Reject weights per path, and paths that are not summed."""
        return why_not_functions(spec)

    def prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> FunctionEdges:
        """Values of the filter at the grid points, by degree."""
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
        f: Float[Tensor, "edges points channels"],
        h: Float[Tensor, "edges points channels"],
    ) -> Float[Tensor, "edges sph_out channels"]:
        return self._project.like(f).expand(len(f), -1, -1) @ (f * h)
