"""Base class of architectures with message passing by tensor products."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.autodiff.edge_function import EdgeFunction
from equipot.graph.connectivity import Connectivity
from equipot.graph.edge_pairs import EdgePairs
from equipot.models.backbone import Backbone, EdgeGeometry
from equipot.nn import (
    BesselBasis,
    ElementEmbedding,
    RadialMLP,
    polynomial_envelope,
)
from equipot.tensor_products import TensorProduct, TensorProductSpec


@runtime_checkable
class Layer(Protocol):
    """Protocol of message-passing layers, which are modules."""

    tensor_product: TensorProduct[Any]
    """Convolution of the features."""
    radial: RadialMLP
    """Radial MLP for the weights of the convolution."""

    def __call__(
        self, x: Tensor, elements: Tensor, edges: Any, weights: Tensor
    ) -> Tensor:
        """New features of all atoms.

        Args:
            x: Features, of shape ``(nodes, sph, channels)``.
            elements: Index of the chemical element of each atom.
            edges: Edge state prepared by the tensor product.
            weights: Result of `radial` for each edge.
        """


class MessagePassing(Backbone):
    """Element embedding and a stack of layers with one tensor product each.

    Args:
        layers: Message-passing layers, in order.
        embedding: Initial features of the atoms.
        cutoff: Cutoff of the edges in Å.
        num_basis: Number of Bessel functions per edge.
        envelope_power: Order of the polynomial envelope.
        channels: Number of channels of the features.
        lmax: Highest degree of the features after each layer.
        symmetry: Symmetry group of the network.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        embedding: ElementEmbedding,
        *,
        cutoff: float,
        num_basis: int,
        envelope_power: int,
        channels: int,
        lmax: Sequence[int],
        symmetry: Literal["O(3)", "SO(3)"] = "O(3)",
    ) -> None:
        super().__init__(cutoff, [channels] * len(lmax), lmax, symmetry)
        self.embedding = embedding
        self.layers = nn.ModuleList(layers)
        self.basis = BesselBasis(cutoff, num_basis)
        self.envelope_power = envelope_power

    def forward(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> list[Float[Tensor, "nodes _sph channels"]]:
        """Features after each layer."""
        radial = self._tabulated if edges.tabulate else self._radial
        weights = radial(edges.lengths, edges.pairs)
        prepared = self._prepare(
            edges.directions, Connectivity(edges.index, len(elements))
        )
        x = self.embedding(elements)
        features = []
        for layer, of_layer in zip(self._layers(), weights, strict=True):
            x = layer(x, elements, prepared[layer.tensor_product.spec], of_layer)
            features.append(x)
        return features

    def _radial(
        self, lengths: Float[Tensor, "pairs 1"], pairs: EdgePairs
    ) -> Iterator[Float[Tensor, "edges _weights"]]:
        """Path weights of each layer, computed once per pair of edges."""
        inputs = self._radial_inputs(lengths)
        for layer in self._layers():
            yield pairs.expand(layer.radial(*inputs))

    def _tabulated(
        self, lengths: Float[Tensor, "pairs 1"], pairs: EdgePairs
    ) -> Iterator[Float[Tensor, "edges _weights"]]:
        """Path weights of each layer as tabulated functions of the edge lengths."""

        def weights_of(layer: Layer) -> Callable[[Tensor], Tensor]:
            return lambda r: layer.radial(*self._radial_inputs(r), _plain_silu)

        of_edges = pairs.expand(lengths)
        for layer in self._layers():
            yield EdgeFunction(weights_of(layer), of_edges)()

    def _radial_inputs(
        self, lengths: Float[Tensor, "lengths 1"]
    ) -> tuple[Float[Tensor, "lengths num_basis"], Float[Tensor, "lengths 1"]]:
        """Radial basis functions and envelope."""
        envelope = polynomial_envelope(lengths / self.cutoff, self.envelope_power)
        return self.basis(lengths), envelope

    def _layers(self) -> list[Layer]:
        return cast(list[Layer], list(self.layers))

    def _prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> dict[TensorProductSpec, Any]:
        """Edge state for each distinct product."""
        products: dict[TensorProductSpec, TensorProduct[Any]] = {
            layer.tensor_product.spec: layer.tensor_product for layer in self._layers()
        }
        states: dict[Hashable, Any] = {}
        for product in products.values():
            if product.edge_state_key not in states:
                state = product.prepare(directions, connectivity)
                states[product.edge_state_key] = state
        return {spec: states[p.edge_state_key] for spec, p in products.items()}


def _plain_silu(x: Tensor) -> Tensor:
    """SiLU in terms of operations that support nested forward-mode differentiation."""
    return x * torch.sigmoid(x)
