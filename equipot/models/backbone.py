"""The message-passing backbone: features of atoms from elements and edge vectors."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.autodiff.edge_function import EdgeFunction
from equipot.graph.connectivity import Connectivity
from equipot.graph.edge_pairs import EdgePairs
from equipot.nn import (
    BesselBasis,
    ElementEmbedding,
    InteractionBlock,
    polynomial_envelope,
)
from equipot.tensor_products import (
    TensorProduct,
    TensorProductSpec,
    backend_name,
)


@final
class MessagePassing(nn.Module):
    """Embedding of the elements and a stack of interaction blocks.

    Args:
        layers: One interaction block per step, in order.
        embedding: First features of the atoms.
        cutoff: Radius in Å at which all edges have faded out.
        num_basis: Bessel functions per edge.
        envelope_power: Order of the polynomial envelope.
    """

    def __init__(
        self,
        layers: Sequence[InteractionBlock],
        embedding: ElementEmbedding,
        cutoff: float,
        num_basis: int,
        envelope_power: int,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(layers)
        self.basis = BesselBasis(cutoff, num_basis)
        self.cutoff = cutoff
        self.envelope_power = envelope_power

    @property
    def specs(self) -> tuple[TensorProductSpec, ...]:
        """Tensor product of every layer."""
        return tuple(layer.tensor_product.spec for layer in self._blocks())

    @property
    def backend(self) -> str:
        """Tensor-product backend of all layers."""
        (name,) = {backend_name(layer.tensor_product) for layer in self._blocks()}
        return name

    def set_tensor_products(
        self, products: Mapping[TensorProductSpec, TensorProduct[Any]]
    ) -> None:
        """Let others compute the tensor products of the layers.

        Args:
            products: For each of `specs`, all of one backend.
        """
        for layer in self._blocks():
            layer.tensor_product = products[layer.tensor_product.spec]

    def forward(
        self,
        elements: Int[Tensor, " nodes"],
        directions: Float[Tensor, "edges 3"],
        lengths: Float[Tensor, "pairs 1"],
        edge_index: Int[Tensor, "2 edges"],
        pairs: EdgePairs,
        *,
        tabulate: bool = False,
    ) -> list[Float[Tensor, "nodes _sph channels"]]:
        """Features after each layer.

        Args:
            elements: Index of the chemical element of each atom.
            directions: Unit vectors of the edges.
            lengths: In Å, positive; one for both edges of a pair.
            edge_index: Senders and receivers.
            pairs: Which edges share a length.
            tabulate: Whether radial functions are tabulated with their derivatives,
                which pays if features are differentiated twice for many vectors. They
                cannot be differentiated by weights then.
        """
        radial = self._tabulated if tabulate else self._radial
        prepared = self._prepare(directions, Connectivity(edge_index, len(elements)))
        x = self.embedding(elements)
        features = []
        for layer, weights in zip(self._blocks(), radial(lengths, pairs), strict=True):
            edges = prepared[layer.tensor_product.spec]
            x = layer(x, elements, edges, weights)
            features.append(x)
        return features

    def _radial(
        self, lengths: Float[Tensor, "pairs 1"], pairs: EdgePairs
    ) -> Iterator[Float[Tensor, "edges _weights"]]:
        """Weights of the paths of each layer, computed once for a pair of edges."""
        inputs = self._radial_inputs(lengths)
        for layer in self._blocks():
            yield pairs.expand(layer.radial(*inputs))

    def _tabulated(
        self, lengths: Float[Tensor, "pairs 1"], pairs: EdgePairs
    ) -> Iterator[Float[Tensor, "edges _weights"]]:
        """The same, as functions of the length of every edge."""

        def weights_of(layer: InteractionBlock) -> Callable[[Tensor], Tensor]:
            return lambda r: layer.radial(*self._radial_inputs(r), _plain_silu)

        of_edges = pairs.expand(lengths)
        for layer in self._blocks():
            yield EdgeFunction(weights_of(layer), of_edges)()

    def _radial_inputs(
        self, lengths: Float[Tensor, "lengths 1"]
    ) -> tuple[Float[Tensor, "lengths num_basis"], Float[Tensor, "lengths 1"]]:
        """Radial functions and envelope."""
        envelope = polynomial_envelope(lengths / self.cutoff, self.envelope_power)
        return self.basis(lengths), envelope

    def _blocks(self) -> list[InteractionBlock]:
        return cast(list[InteractionBlock], list(self.layers))

    def _prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> dict[TensorProductSpec, Any]:
        """State of the edges for each distinct product."""
        products: dict[TensorProductSpec, TensorProduct[Any]] = {
            layer.tensor_product.spec: layer.tensor_product for layer in self._blocks()
        }
        states: dict[Hashable, Any] = {}
        for product in products.values():
            if product.edge_state_key not in states:
                state = product.prepare(directions, connectivity)
                states[product.edge_state_key] = state
        return {spec: states[p.edge_state_key] for spec, p in products.items()}


def _plain_silu(x: Tensor) -> Tensor:
    """In terms of operations that can be differentiated in forward mode twice."""
    return x * torch.sigmoid(x)


def layer_specs(
    template: TensorProductSpec, num_layers: int
) -> tuple[TensorProductSpec, ...]:
    """Products of the layers: the first sees only scalars, the last only makes them.

    Args:
        template: Product of a layer between others.
        num_layers: Message-passing steps, at least one.
    """
    return tuple(
        replace(
            template,
            lmax_in=0 if n == 0 else template.lmax_in,
            lmax_out=0 if n == num_layers - 1 else template.lmax_out,
        )
        for n in range(num_layers)
    )
