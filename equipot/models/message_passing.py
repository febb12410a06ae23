"""Base class of architectures with message passing by tensor products."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.autodiff.edge_function import EdgeFunction
from equipot.config.model import ModelConfig
from equipot.graph.connectivity import Connectivity
from equipot.graph.scatter import scatter_sum
from equipot.models.backbone import Backbone, EdgeGeometry
from equipot.models.products import tensor_products_of
from equipot.nn import (
    BesselBasis,
    RadialInputs,
    RadialMLP,
    SolidRadialMLP,
    polynomial_envelope,
)
from equipot.nn.radial_table import RadialTable
from equipot.ops.interpolation import interpolate
from equipot.tensor_products import TensorProductSpec


@runtime_checkable
class Layer(Protocol):
    """Protocol of message-passing layers, which are modules.

    If a layer has an attribute ``density``, a module that is called like `radial`, the
    sum of its values over the neighbors of each atom is a further argument.
    """

    radial: RadialMLP | SolidRadialMLP
    """Radial MLP for the weights of the tensor products."""

    def __call__(
        self,
        x: Any,
        elements: Tensor,
        edges: Mapping[TensorProductSpec, Any],
        weights: Tensor,
        /,
        *densities: Tensor,
    ) -> Any:
        """New features of all atoms.

        Args:
            x: Features; of the first layer, those of the embedding.
            elements: Index of the chemical element of each atom.
            edges: Edge state by specification of the tensor products of the layer.
            weights: Result of `radial` for each edge.
            densities: Sum of ``density`` over the edges of each atom, if it has one.
        """


class MessagePassing(Backbone):
    """Element embedding and a stack of layers with tensor products.

    Args:
        layers: Message-passing layers, in order.
        embedding: Initial features of atoms from the indices of their elements.
        radial_inputs: Radial basis functions and envelope of the edges.
        cutoff: Cutoff of the edges in Å.
        channels: Number of scalars after each layer.
        lmax: Highest degree of the features after each layer.
        symmetry: Symmetry group of the network.
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
        self.radial_table: RadialTable | None = None
        """Table from which radial functions are interpolated in training mode; None to
        evaluate them for each pair of edges."""

    def forward(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> list[Float[Tensor, "nodes _sph channels"]]:
        """Features after each layer."""
        radial = self._radial
        if edges.tabulate:
            radial = self._tabulated
        elif self.training and self.radial_table is not None:
            radial = self._interpolated
        prepared = self._prepare(
            edges.directions, Connectivity(edges.index, len(elements))
        )
        x = self.embedding(elements)
        features = []
        functions = radial(elements, edges)
        for layer, (weights, *per_edge) in zip(self._layers(), functions, strict=True):
            densities = [
                scatter_sum(values[:, 0], edges.index[1], len(elements))
                for values in per_edge
            ]
            x = layer(x, elements, prepared, weights, *densities)
            features.append(self.dense(x))
        return features

    def dense(self, x: Any) -> Float[Tensor, "nodes _sph _channels"]:
        """Features of a layer in the layout of `Backbone`, for other formats."""
        features: Tensor = x
        return features

    def _radial(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> Iterator[list[Float[Tensor, "edges _values"]]]:
        """Radial functions of each layer, computed once per pair of edges."""
        of_pairs = elements[edges.index.index_select(1, edges.pairs.forward)]
        inputs = self.radial_inputs(edges.lengths, of_pairs)
        for layer in self._layers():
            yield [edges.pairs.expand(f(*inputs)) for f in _radial_functions(layer)]

    def _interpolated(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> Iterator[list[Float[Tensor, "edges _values"]]]:
        """Radial functions of each layer, interpolated from those of few lengths."""
        table = cast(RadialTable, self.radial_table)
        basis, first = table.basis(edges.pairs.expand(edges.lengths))
        for values in self.radial_values(table.sites(basis)):
            yield [interpolate(basis, table.coefficients(v), first) for v in values]

    def radial_values(
        self, lengths: Float[Tensor, "lengths 1"]
    ) -> Iterator[list[Float[Tensor, "lengths _values"]]]:
        """Radial functions of each layer at given lengths in Å.

        Raises:
            ValueError: If they depend on the elements of the atoms as well.
        """
        if self.radial_inputs.transform is not None:
            raise ValueError(
                "radial functions of distances that are transformed by element are not "
                "functions of the length alone: set radial_table to None"
            )
        elements = torch.zeros(
            2, len(lengths), dtype=torch.int64, device=lengths.device
        )
        inputs = self.radial_inputs(lengths, elements)
        for layer in self._layers():
            yield [f(*inputs) for f in _radial_functions(layer)]

    def _tabulated(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> Iterator[list[Float[Tensor, "edges _values"]]]:
        """Radial functions of each layer as tabulated functions of the edge lengths."""
        of_edges = elements[edges.index]

        def tabulated(f: Callable[..., Tensor]) -> Tensor:
            return EdgeFunction(
                lambda r: f(*self.radial_inputs(r, of_edges), plain_silu), lengths
            )()

        lengths = edges.pairs.expand(edges.lengths)
        for layer in self._layers():
            yield [tabulated(f) for f in _radial_functions(layer)]

    def _layers(self) -> list[Layer]:
        return cast(list[Layer], list(self.layers))

    def _prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> dict[TensorProductSpec, Any]:
        """Edge state for each distinct product."""
        products = {p.spec: p for p in tensor_products_of(self.layers)}
        states: dict[Hashable, Any] = {}
        for product in products.values():
            if product.edge_state_key not in states:
                state = product.prepare(directions, connectivity)
                states[product.edge_state_key] = state
        return {spec: states[p.edge_state_key] for spec, p in products.items()}


def bessel_inputs(config: ModelConfig) -> RadialInputs:
    """Bessel functions and polynomial envelope of a configuration."""
    basis = BesselBasis(config.cutoff, config.num_basis)
    return RadialInputs(basis, envelope_of(config))


def envelope_of(config: ModelConfig) -> Callable[[Tensor], Tensor]:
    """Polynomial envelope of a configuration, a function of lengths in Å."""

    def envelope(lengths: Tensor) -> Tensor:
        return polynomial_envelope(lengths / config.cutoff, config.envelope_power)

    return envelope


def _radial_functions(layer: Layer) -> list[Callable[..., Tensor]]:
    """Weights of the tensor products, and the density if the layer has one."""
    density: Callable[..., Tensor] | None = getattr(layer, "density", None)
    return [layer.radial] if density is None else [layer.radial, density]


def plain_silu(x: Tensor) -> Tensor:
    """SiLU in terms of operations that support nested forward-mode differentiation."""
    return x * torch.sigmoid(x)
