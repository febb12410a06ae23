"""Expansion of weights per degree to weights per path."""

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.tensor_products.spec import TensorProductSpec


def path_weights(
    spec: TensorProductSpec, weights: Float[Tensor, "edges num_weights channels"]
) -> Float[Tensor, "edges paths channels"]:
    """Weight of every path: given, or the product of the weights of its degrees.

    Args:
        spec: Specification of the product.
        weights: Weights, as in `TensorProduct.forward`.

    Returns:
        One weight for each of `spec.paths`, without the constant coefficients.
    """
    if spec.weighting == "per_path":
        return weights
    l_in, l_filter, l_out = torch.tensor(spec.paths).T
    # The second set of weights is for the paths of odd l1 + l2 + l3.
    num_sets = 2 if spec.symmetry == "SO(3)" else 1
    first = (l_in + l_filter + l_out) % 2 * (spec.num_weights // num_sets)
    a = first + l_in
    b = first + spec.lmax_in + 1 + l_filter
    c = first + spec.lmax_in + spec.lmax_filter + 2 + l_out
    return weights[:, a] * weights[:, b] * weights[:, c]
