"""Weighted functions on the sphere, the factors of products per degree."""

from collections.abc import Iterator
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.constants import Constant
from equipot.node_products.scales import degree_scales
from equipot.node_products.spec import NodeProductSpec


def why_not_functions(spec: NodeProductSpec) -> str | None:
    """Reason why products of functions on the sphere do not support `spec`, or None."""
    if spec.weighting == "per_path":
        return (
            "a product of functions on the sphere has no weights per coupling; choose "
            "weighting='per_degree'"
        )
    return None


class WeightedProduct(NamedTuple):
    """One product: weighted factors, and weights of the result."""

    factors: Float[Tensor, "nodes order sph_in channels"]
    """Coefficients of the functions in harmonics of unit norm on the sphere."""
    result: Float[Tensor, "nodes sph_out channels"]


@final
class DegreeWeights:
    """Conversion of weights per degree to the factors of the products of each order."""

    def __init__(self, spec: NodeProductSpec) -> None:
        self._spec = spec
        self._scales = [Constant(scales) for scales in degree_scales(spec)]

    def products(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        weights: Float[Tensor, "nodes num_weights channels"],
    ) -> Iterator[WeightedProduct]:
        """Products of 1 to `spec.order` factors.

        Args:
            x: Node features.
            weights: Weights, as in `NodeProduct.forward`.
        """
        spec = self._spec
        sizes = [spec.weights_of_order(order) for order in spec.orders]
        for order, scales, of_order in zip(
            spec.orders, self._scales, weights.split(sizes, dim=1), strict=True
        ):
            num_in = order * (spec.lmax_in + 1)
            of_factors = of_order[:, :num_in].unflatten(1, (order, -1))
            of_result = of_order[:, num_in:] * scales.like(x)[:, None]
            yield WeightedProduct(
                _repeat_over_components(of_factors) * x[:, None],
                _repeat_over_components(of_result),
            )


def _repeat_over_components(
    weights: Float[Tensor, "*batch degrees channels"],
) -> Float[Tensor, "*batch sph channels"]:
    """Repeat weights of degrees over their components."""
    parts = [
        of_degree.expand(*weights.shape[:-2], 2 * degree + 1, -1)
        for degree, of_degree in enumerate(weights.split(1, dim=-2))
    ]
    return torch.cat(parts, dim=-2)
