"""MACE: messages of many bodies, as polynomials of the atomic basis."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.config.model import MACEConfig
from equipot.models.message_passing import MessagePassing, bessel_inputs
from equipot.models.products import Products
from equipot.nn import (
    DegreeLinear,
    ElementEmbedding,
    ElementLinear,
    PathLinear,
    RadialMLP,
    add_shared_degrees,
)
from equipot.node_products import NodeProduct, NodeProductSpec
from equipot.tensor_products import TensorProduct, TensorProductSpec


@final
class MACE(MessagePassing):
    """Layers of one convolution and one symmetric polynomial of its result.

    Messages have degrees 0 to ``lmax``, features between layers 0 to ``lmax_hidden``;
    the last layer makes scalars.

    Args:
        config: Hyperparameters.
        atomic_numbers: Chemical elements, ascending.
        average_num_neighbors: Mean number of edges that arrive at an atom.
        products: Makers of the tensor products and node products.

    Source:
        I. Batatia et al., NeurIPS 2022, eqs. 8 to 12.
    """

    def __init__(
        self,
        config: MACEConfig,
        atomic_numbers: Sequence[int],
        average_num_neighbors: float,
        products: Products,
    ) -> None:
        hidden = config.lmax if config.lmax_hidden is None else config.lmax_hidden
        degrees = [0, *[hidden] * (config.num_layers - 1), 0]
        layers: list[MACELayer] = []
        for lmax_in, lmax_out in pairwise(degrees):
            convolution = TensorProductSpec(
                lmax_in, config.lmax, config.lmax, accumulate="concat"
            )
            polynomial = NodeProductSpec(
                config.lmax, lmax_out, config.correlation, config.node_weighting
            )
            layer = MACELayer(
                products.of_edges(convolution),
                products.of_nodes(polynomial),
                config.channels,
                len(atomic_numbers),
                config.num_basis,
                config.radial_hidden,
                average_num_neighbors,
                residual=bool(layers),
            )
            layers.append(layer)
        super().__init__(
            layers,
            ElementEmbedding(len(atomic_numbers), config.channels),
            bessel_inputs(config),
            cutoff=config.cutoff,
            channels=[config.channels] * config.num_layers,
            lmax=degrees[1:],
        )


@final
class MACELayer(nn.Module):
    r"""Atomic basis A, its symmetric polynomials B, and a residual connection.

    .. math:: A_i = \frac{1}{\sqrt{\bar n}} \sum_p W_p \sum_{j \in N(i)} R_p(r_{ij})
                    \, (U x_j \otimes Y(\hat r_{ij}))_p, \qquad
              x_i' = P \, B_{z_i}(A_i) + S_{z_i} x_i

    Where there is no residual connection, in the first layer, the matrices of the
    elements multiply the atomic basis instead.

    Args:
        tensor_product: Convolution; keeps its paths side by side.
        node_product: Polynomial of the messages.
        channels: Number of channels per degree.
        num_elements: Chemical elements.
        num_basis: Radial functions that describe an edge.
        radial_hidden: Hidden widths of the radial MLP.
        average_num_neighbors: Mean number of edges that arrive at an atom.
        residual: Whether the features before the layer are added.
    """

    def __init__(
        self,
        tensor_product: TensorProduct[Any],
        node_product: NodeProduct,
        channels: int,
        num_elements: int,
        num_basis: int,
        radial_hidden: Sequence[int],
        average_num_neighbors: float,
        *,
        residual: bool,
    ) -> None:
        super().__init__()
        spec, polynomial = tensor_product.spec, node_product.spec
        self.tensor_product = tensor_product
        self.node_product = node_product
        self.channels = channels
        self.residual = residual
        self._norm = average_num_neighbors**-0.5
        self.linear_in = DegreeLinear(spec.lmax_in, channels, channels)
        self.radial = RadialMLP(num_basis, radial_hidden, spec.num_weights * channels)
        self.path_linear = PathLinear(spec, channels, channels)
        lmax_skip = (
            min(spec.lmax_in, polynomial.lmax_out) if residual else spec.lmax_out
        )
        self.element_linear = ElementLinear(lmax_skip, num_elements, channels)
        self.polynomial_weights = nn.Parameter(
            torch.randn(num_elements, polynomial.num_weights, channels)
        )
        self.linear_out = DegreeLinear(polynomial.lmax_out, channels, channels)

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        elements: Int[Tensor, " nodes"],
        edges: Mapping[TensorProductSpec, Any],
        weights: Float[Tensor, "edges num_weights_times_channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """New features of all atoms; see `equipot.models.message_passing.Layer`."""
        per_path = weights.unflatten(1, (-1, self.channels))
        message = self.tensor_product(
            self.linear_in(x), edges[self.tensor_product.spec], per_path
        )
        basis = self.path_linear(message * self._norm)
        if not self.residual:
            basis = self.element_linear(basis, elements)
        products = self.node_product(basis, self.polynomial_weights[elements])
        update: Tensor = self.linear_out(products)
        if not self.residual:
            return update
        return add_shared_degrees(update, self.element_linear(x, elements))
