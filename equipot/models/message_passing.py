"""Message passing with tensor products: what spherical architectures share."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.autodiff.edge_function import EdgeFunction
from equipot.config.model import ModelConfig
from equipot.graph.connectivity import Connectivity
from equipot.models.backbone import Backbone, EdgeGeometry
from equipot.models.products import tensor_products_of
from equipot.nn import (
    BesselBasis,
    RadialInputs,
    RadialMLP,
    SolidRadialMLP,
    polynomial_envelope,
)
from equipot.tensor_products import TensorProductSpec


@runtime_checkable
class Layer(Protocol):
    """A message-passing step; a module."""

    radial: RadialMLP | SolidRadialMLP
    """Weights of the tensor products."""

    def __call__(
        self,
        x: Any,
        elements: Tensor,
        edges: Mapping[TensorProductSpec, Any],
        weights: Tensor,
    ) -> Any:
        """New features of all atoms.

        Args:
            x: Features; of the first layer, those of the embedding.
            elements: Index of the chemical element of each atom.
            edges: State of the edges that each tensor product of the layer prepared.
            weights: Result of `radial` for each edge.
        """


class MessagePassing(Backbone):
    """Embedding of the elements and a stack of layers with tensor products.

    Args:
        layers: Message-passing steps, in order.
        embedding: First features of atoms from the indices of their elements.
        radial_inputs: Radial functions and envelope of the edges.
        cutoff: Radius in Å at which all edges have faded out.
        channels: Number of scalars after each layer.
        lmax: Highest degree of the features after each layer.
        symmetry: Group that the network commutes with.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        embedding: nn.Module,
        radial_inputs: RadialInputs,
        *,
        cutoff: float,
        channels: Sequence[int],
        lmax: Sequence[int],
        symmetry: Literal["O(3)", "SO(3)"] = "O(3)",
    ) -> None:
        super().__init__(cutoff, channels, lmax, symmetry)
        self.embedding = embedding
        self.layers = nn.ModuleList(layers)
        self.radial_inputs = radial_inputs

    def forward(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> list[Float[Tensor, "nodes _sph channels"]]:
        """Features after each layer."""
        radial = self._tabulated if edges.tabulate else self._radial
        weights = radial(elements, edges)
        prepared = self._prepare(
            edges.directions, Connectivity(edges.index, len(elements))
        )
        x = self.embedding(elements)
        features = []
        for layer, of_layer in zip(self._layers(), weights, strict=True):
            x = layer(x, elements, prepared, of_layer)
            features.append(self.dense(x))
        return features

    def dense(self, x: Any) -> Float[Tensor, "nodes _sph _channels"]:
        """Features of a layer in the layout of `Backbone`, for other formats."""
        features: Tensor = x
        return features

    def _radial(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> Iterator[Float[Tensor, "edges _weights"]]:
        """Weights of the paths of each layer, computed once for a pair of edges."""
        of_pairs = elements[edges.index.index_select(1, edges.pairs.forward)]
        inputs = self.radial_inputs(edges.lengths, of_pairs)
        for layer in self._layers():
            yield edges.pairs.expand(layer.radial(*inputs))

    def _tabulated(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> Iterator[Float[Tensor, "edges _weights"]]:
        """The same, as functions of the length of every edge."""
        of_edges = elements[edges.index]

        def weights_of(layer: Layer) -> Callable[[Tensor], Tensor]:
            return lambda r: layer.radial(*self.radial_inputs(r, of_edges), _plain_silu)

        lengths = edges.pairs.expand(edges.lengths)
        for layer in self._layers():
            yield EdgeFunction(weights_of(layer), lengths)()

    def _layers(self) -> list[Layer]:
        return cast(list[Layer], list(self.layers))

    def _prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> dict[TensorProductSpec, Any]:
        """State of the edges for each distinct product."""
        products = {p.spec: p for p in tensor_products_of(self.layers)}
        states: dict[Hashable, Any] = {}
        for product in products.values():
            if product.edge_state_key not in states:
                state = product.prepare(directions, connectivity)
                states[product.edge_state_key] = state
        return {spec: states[p.edge_state_key] for spec, p in products.items()}


def bessel_inputs(config: ModelConfig) -> RadialInputs:
    """Bessel functions and polynomial envelope that a configuration describes."""

    def envelope(lengths: Tensor) -> Tensor:
        return polynomial_envelope(lengths / config.cutoff, config.envelope_power)

    return RadialInputs(BesselBasis(config.cutoff, config.num_basis), envelope)


def _plain_silu(x: Tensor) -> Tensor:
    """In terms of operations that can be differentiated in forward mode twice."""
    return x * torch.sigmoid(x)
