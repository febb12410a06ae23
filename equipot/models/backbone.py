"""The message-passing backbone: features of atoms from elements and edge vectors."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast, final

from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.connectivity import Connectivity
from equipot.edge_pairs import EdgePairs
from equipot.nn import (
    BesselBasis,
    ElementEmbedding,
    InteractionBlock,
    RadialBasis,
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
        """Name of who computes the tensor products of all layers."""
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
    ) -> list[Float[Tensor, "nodes _sph channels"]]:
        """Features after each layer.

        Args:
            elements: Index of the chemical element of each atom.
            directions: Unit vectors of the edges.
            lengths: In Å, positive; one for both edges of a pair.
            edge_index: Senders and receivers.
            pairs: Which edges share a length.
        """
        envelope = polynomial_envelope(lengths / self.cutoff, self.envelope_power)
        radial = RadialBasis(self.basis(lengths), envelope, pairs)
        prepared = self._prepare(directions, Connectivity(edge_index, len(elements)))
        x = self.embedding(elements)
        features = []
        for layer in self._blocks():
            edges = prepared[layer.tensor_product.spec]
            x = layer(x, elements, edges, radial)
            features.append(x)
        return features

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
