"""Products of functions on the sphere by quadrature on a grid."""

import math
from typing import NamedTuple, final

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from equipot.constants import Constant
from equipot.node_products.base import NodeProduct, weights_of_nodes
from equipot.node_products.degree_weights import DegreeWeights, why_not_functions
from equipot.node_products.spec import NodeProductSpec
from equipot.so3 import spherical_harmonics
from equipot.so3.quadrature import sphere_quadrature


class Grid(NamedTuple):
    """Evaluation and projection matrices of the grid for one number of factors."""

    evaluate: Constant
    """Map from coefficients of the factors to values at the points."""
    project: Constant
    """Map from values of the product to its coefficients."""


@final
class SphericalGrid(NodeProduct):
    r"""Evaluate factors on a grid, multiply pointwise, and project back.

    .. math:: z^l_k = \sum_n \alpha_{nl} v_{nl} \sum_g a_g \, Y^l_k(\omega_g)
              \prod_{j=1}^n f_{nj}(\omega_g)

    The quadrature is exact for the degree of the integrand, n times that of the
    features plus that of the result, so the result equals the Clebsch-Gordan product up
    to rounding errors.

    Source:
        Y. Xie, A. Daigavane, M. Kotak, T. Smidt, ICML 2025, arXiv:2506.13523.
    """

    def __init__(self, spec: NodeProductSpec) -> None:
        super().__init__(spec)
        self._weights = DegreeWeights(spec)
        self._grids = [_grid(spec, order) for order in spec.orders]

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
        products = self._weights.products(x, weights)
        for grid, (factors, result) in zip(self._grids, products, strict=True):
            evaluate, project = grid.evaluate.like(x), grid.project.like(x)
            first, *others = factors.unbind(1)
            values = evaluate @ first
            for factor in others:
                values = values * (evaluate @ factor)
            total = total + result * (project @ values)
        return total


def _grid(spec: NodeProductSpec, order: int) -> Grid:
    """Smallest exact grid, and harmonics of unit norm at its points."""
    lmax_out = min(spec.lmax_out, order * spec.lmax_in)
    points, areas = sphere_quadrature(order * spec.lmax_in + lmax_out)
    norm = (4 * math.pi) ** -0.5
    evaluate = norm * spherical_harmonics(spec.lmax_in, points)
    project = norm * areas * spherical_harmonics(lmax_out, points).T
    out_of_reach = spec.num_outputs - len(project)
    return Grid(Constant(evaluate), Constant(pad(project, (0, 0, 0, out_of_reach))))
