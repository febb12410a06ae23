"""MACE: many-body messages as symmetric polynomials of the atomic basis."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.config.model import MACEConfig
from equipot.models.message_passing import MessagePassing, envelope_of
from equipot.models.products import Products
from equipot.nn import (
    AgnesiTransform,
    BesselBasis,
    ChebyshevBasis,
    DegreeLinear,
    Density,
    ElementEmbedding,
    ElementLinear,
    GaussianBasis,
    PathLinear,
    RadialInputs,
    RadialMLP,
    SoftTransform,
    add_shared_degrees,
)
from equipot.node_products import NodeProduct, NodeProductSpec
from equipot.so3 import num_components
from equipot.tensor_products import TensorProduct, TensorProductSpec


@final
class MACE(MessagePassing):
    """MACE backbone: layers of one convolution and one symmetric polynomial.

    Messages have degrees 0 to ``lmax``, features between layers degrees 0 to
    ``lmax_hidden``; the last layer outputs scalars.

    Args:
        config: Hyperparameters.
        atomic_numbers: Chemical elements, ascending.
        average_num_neighbors: Mean number of incoming edges per atom.
        products: Factories of tensor products and node products.

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
        degrees = [0, *[config.degree_of_features] * (config.num_layers - 1), 0]
        layers: list[MACELayer] = []
        for (lmax_in, lmax_out), correlation in zip(
            pairwise(degrees), config.correlations, strict=True
        ):
            sent = lmax_in if config.lmax_sent is None else config.lmax_sent
            convolution = TensorProductSpec(
                min(sent, lmax_in), config.lmax, config.lmax, accumulate="concat"
            )
            polynomial = NodeProductSpec(
                config.lmax, lmax_out, correlation, config.node_weighting
            )
            layer = MACELayer(
                config,
                products.of_edges(convolution),
                products.of_nodes(polynomial),
                len(atomic_numbers),
                average_num_neighbors,
                lmax_in=lmax_in,
                first=not layers,
            )
            layers.append(layer)
        super().__init__(
            layers,
            ElementEmbedding(len(atomic_numbers), config.channels),
            radial_inputs(config, atomic_numbers),
            cutoff=config.cutoff,
            channels=[config.channels] * config.num_layers,
            lmax=degrees[1:],
        )


@final
class MACELayer(nn.Module):
    r"""Atomic basis A, its symmetric polynomials B, and a residual connection.

    .. math:: A_i = \frac{1}{N_i} \sum_p W_p \sum_{j \in N(i)} R_p(r_{ij})
                    \, (U x_j \otimes Y(\hat r_{ij}))_p, \qquad
              x_i' = P \, B_{z_i}(A_i) + S_{z_i} x_i

    Without a residual connection, as in the first layer of the paper, the matrices S of
    the elements are applied to the atomic basis instead. Messages are divided by the
    square root of the mean number of neighbors, or by one plus their density.

    Args:
        config: Hyperparameters.
        tensor_product: Convolution with concatenated paths.
        node_product: Polynomial of the messages.
        num_elements: Number of chemical elements.
        average_num_neighbors: Mean number of incoming edges per atom.
        lmax_in: Highest degree of the features before the layer.
        first: Whether the layer is the first one.
    """

    def __init__(
        self,
        config: MACEConfig,
        tensor_product: TensorProduct[Any],
        node_product: NodeProduct,
        num_elements: int,
        average_num_neighbors: float,
        *,
        lmax_in: int,
        first: bool,
    ) -> None:
        super().__init__()
        spec, polynomial = tensor_product.spec, node_product.spec
        kind = config.first_interaction if first else config.other_interactions
        sent = config.channels_sent_first if first else config.channels_sent
        channels = config.channels
        self.channels_sent = channels if sent is None else sent
        self.tensor_product = tensor_product
        self.node_product = node_product
        self.residual = kind in ("residual", "density_residual")
        self.linear_in = DegreeLinear(spec.lmax_in, channels, self.channels_sent)
        self.radial = RadialMLP(
            config.num_basis,
            config.radial_hidden,
            spec.num_weights * self.channels_sent,
            bias=config.radial_bias,
            envelope_on=config.envelope_on,
        )
        self.path_linear = PathLinear(spec, self.channels_sent, channels)
        self.density: Density | None = None
        self.message_scale = average_num_neighbors**-0.5
        if kind in ("density", "density_residual"):
            self.density = Density(config.num_basis, config.envelope_on)
        lmax_skip = min(lmax_in, polynomial.lmax_out)
        self.element_linear = ElementLinear(
            lmax_skip if self.residual else spec.lmax_out, num_elements, channels
        )
        rows = 1 if config.shared_polynomials else num_elements
        self.polynomial_weights = nn.Parameter(
            torch.randn(rows, polynomial.num_weights, channels)
        )
        self.linear_out = DegreeLinear(polynomial.lmax_out, channels, channels)

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        elements: Int[Tensor, " nodes"],
        edges: Mapping[TensorProductSpec, Any],
        weights: Float[Tensor, "edges num_weights_times_channels"],
        density: Float[Tensor, " nodes"] | None = None,
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """New features of all atoms; see `equipot.models.message_passing.Layer`."""
        spec = self.tensor_product.spec
        sent = self.linear_in(x[:, : num_components(spec.lmax_in)])
        per_path = weights.unflatten(1, (-1, self.channels_sent))
        message = self.tensor_product(sent, edges[spec], per_path)
        if density is None:
            basis = self.path_linear(message * self.message_scale)
        else:
            basis = self.path_linear(message) / (1 + density)[:, None, None]
        if not self.residual:
            basis = self.element_linear(basis, elements)
        shared = len(self.polynomial_weights) == 1
        products = self.node_product(
            basis,
            self.polynomial_weights,
            torch.zeros_like(elements) if shared else elements,
        )
        update: Tensor = self.linear_out(products)
        if not self.residual:
            return update
        return add_shared_degrees(update, self.element_linear(x, elements))


def radial_inputs(config: MACEConfig, atomic_numbers: Sequence[int]) -> RadialInputs:
    """Radial functions, envelope and distance transform of a configuration."""
    basis: nn.Module
    match config.radial_basis:
        case "bessel":
            basis = BesselBasis(
                config.cutoff, config.num_basis, stored=config.stored_roots
            )
        case "gaussian":
            basis = GaussianBasis(config.cutoff, config.num_basis)
        case "chebyshev":
            basis = ChebyshevBasis(config.num_basis)
    transform: nn.Module | None = None
    match config.distance_transform:
        case "agnesi":
            transform = AgnesiTransform(atomic_numbers)
        case "soft":
            transform = SoftTransform(atomic_numbers)
    return RadialInputs(basis, envelope_of(config), transform)
