"""Reference backend: Clebsch-Gordan couplings in plain PyTorch."""

from typing import final

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from equipot.node_products.base import NodeProduct, weights_of_nodes
from equipot.node_products.degree_weights import DegreeWeights
from equipot.node_products.spec import NodeProductSpec
from equipot.node_products.sphere_product import SphereProduct
from equipot.node_products.symmetric_contraction import SymmetricContraction


@final
class ClebschGordan(NodeProduct):
    """Symmetric contraction (per path) or nested products of functions (per degree)."""

    def __init__(self, spec: NodeProductSpec) -> None:
        super().__init__(spec)
        self._compute = (
            SymmetricContraction(spec)
            if spec.weighting == "per_path"
            else _NestedProducts(spec)
        )

    @staticmethod
    def unsupported(spec: NodeProductSpec) -> str | None:
        """None: the reference supports all specifications."""
        return None

    def product(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        weights: Float[Tensor, "rows num_weights channels"],
        rows: Int[Tensor, " nodes"] | None,
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the products of 1 to `spec.order` factors."""
        weights = weights_of_nodes(weights, rows)
        return self._compute(x, weights)


@final
class _NestedProducts:
    """Products of functions on the sphere, factor by factor.

    After each factor, degrees that the remaining factors cannot couple to
    `spec.lmax_out` or less are dropped.
    """

    def __init__(self, spec: NodeProductSpec) -> None:
        self._spec = spec
        self._weights = DegreeWeights(spec)
        self._multiply = {
            (order, factors): SphereProduct(
                self._lmax(order, factors - 1), spec.lmax_in, self._lmax(order, factors)
            )
            for order in spec.orders
            for factors in range(2, order + 1)
        }

    def __call__(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        weights: Float[Tensor, "nodes num_weights channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Evaluate the products with weights per degree."""
        total = x.new_zeros(len(x), self._spec.num_outputs, x.shape[2])
        for factors, result in self._weights.products(x, weights):
            order = factors.shape[1]
            product = factors[:, 0]
            for n in range(2, order + 1):
                product = self._multiply[order, n](product, factors[:, n - 1])
            # Higher degrees are truncated, unreachable ones are zero.
            missing = self._spec.num_outputs - product.shape[1]
            total = total + result * pad(product, (0, 0, 0, missing))
        return total

    def _lmax(self, order: int, factors: int) -> int:
        """Highest degree that contributes after a number of factors."""
        spec = self._spec
        remaining = order - factors
        return min(factors * spec.lmax_in, spec.lmax_out + remaining * spec.lmax_in)
