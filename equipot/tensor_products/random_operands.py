"""Random operands of a convolution for comparing and timing backends."""

import torch
from torch import Tensor

from equipot.graph.connectivity import Connectivity
from equipot.so3 import num_components
from equipot.tensor_products.spec import TensorProductSpec


def random_operands(
    spec: TensorProductSpec,
    connectivity: Connectivity,
    channels: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Normally distributed features and weights.

    Args:
        spec: Tensor product.
        connectivity: Edges between nodes.
        channels: Number of channels per degree.
        generator: Random generator; the results are on its device.
        dtype: Type of the results.

    Returns:
        x: Features, (nodes, sph_in, channels).
        weights: Weights, (edges, num_weights, channels).
    """
    shapes = (
        (connectivity.num_nodes, num_components(spec.lmax_in), channels),
        (connectivity.num_edges, spec.num_weights, channels),
    )
    x, weights = (
        torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)
        for shape in shapes
    )
    return x, weights
