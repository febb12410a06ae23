"""How far a product is from the reference."""

from typing import Any

import torch
from torch import Tensor

from equipot.bench.graphs import exactly
from equipot.bench.steps import bind
from equipot.graph.connectivity import Connectivity
from equipot.so3 import num_components
from equipot.tensor_products import ClebschGordan, TensorProduct, TensorProductSpec

EDGES = 64
"""Edges that are compared, besides the six along the axes."""
CHANNELS = 3
"""Channels that are compared."""


def relative_error(product: TensorProduct[Any], dtype: torch.dtype) -> float:
    """Largest deviation from the reference in float64, over its largest value.

    Edges along the axes are among those compared: poles of any coordinates.

    Args:
        product: Backend to examine; the reference computes the same spec.
        dtype: Arithmetic of the backend.
    """
    spec = product.spec
    edges = exactly(EDGES)
    axes = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    directions = torch.cat([axes, edges.directions])
    index = edges.connectivity.edge_index
    connectivity = Connectivity(
        torch.cat([index.new_zeros(2, len(axes)), index], dim=1),
        edges.connectivity.num_nodes,
    )
    x, weights = random_operands(spec, connectivity, CHANNELS)
    operands = (x, directions, weights)
    expected = bind(ClebschGordan(spec), connectivity)(*operands)
    result = bind(product, connectivity)(*(t.to(dtype) for t in operands))
    return float((result.double() - expected).abs().max() / expected.abs().max())


def random_operands(
    spec: TensorProductSpec, connectivity: Connectivity, channels: int, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Normally distributed features and weights, in float64."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (
        (connectivity.num_nodes, num_components(spec.lmax_in), channels),
        (connectivity.num_edges, spec.num_weights, channels),
    )
    x, weights = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
    )
    return x, weights
