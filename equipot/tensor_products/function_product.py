"""Convolution by products of functions on the sphere, shared by several backends."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from equipot.constants import Constant
from equipot.graph.connectivity import Connectivity
from equipot.graph.scatter import scatter_sum
from equipot.so3 import degree_of_component, num_components, spherical_harmonics
from equipot.tensor_products.spec import TensorProductSpec
from equipot.tensor_products.sphere_functions import (
    FunctionMaps,
    FunctionPair,
    component_has_degree,
)

VALUES_PER_BLOCK = 2**18
"""Number of function values per block of edges on a CPU.

A block fits into the cache of a core, and the memory of a convolution does not scale
with the number of all edges unless gradients are recorded.
"""


class Degrees(NamedTuple):
    """Highest degrees of the operands of a product."""

    features: int
    filter: int
    messages: int


class FunctionEdges(NamedTuple):
    """Maps of the edges to functions on the sphere."""

    maps: tuple[FunctionMaps, ...]
    """Maps for even paths and, with ``symmetry="SO(3)"``, for odd ones."""
    connectivity: Connectivity


class Weights(NamedTuple):
    """Weights per degree, restricted to degrees with a path."""

    features: Float[Tensor, "edges degrees_in channels"]
    filter: Float[Tensor, "edges degrees_filter channels"]
    messages: Float[Tensor, "edges degrees_out channels"]


Multiply = Callable[
    [Float[Tensor, "edges values channels"], Float[Tensor, "edges points channels"]],
    Float[Tensor, "edges sph_out channels"],
]
"""Function from the values of features and filter to coefficients of their product."""


def why_not_functions(spec: TensorProductSpec) -> str | None:
    """Reason why products of functions on the sphere do not support `spec`, or None."""
    if spec.weighting == "per_path":
        return (
            "a product of functions on the sphere has no weights per path; choose "
            "weighting='per_degree'"
        )
    if spec.accumulate == "concat":
        return (
            "a product of functions on the sphere cannot separate its paths; choose "
            "accumulate='sum'"
        )
    return None


def coupled_degrees(spec: TensorProductSpec) -> Degrees:
    """Highest degrees with a path; higher ones would only add quadrature points."""
    l_in, l_filter, l_out = spec.lmax_in, spec.lmax_filter, spec.lmax_out
    return Degrees(
        min(l_in, l_filter + l_out),
        min(l_filter, l_in + l_out),
        min(l_out, l_in + l_filter),
    )


def message_scales(spec: TensorProductSpec) -> Float64[Tensor, " sph_out"]:
    """Normalization factor of every component of the messages.

    It combines the normalization of messages in `spec` with the conversion of three
    component-normalized harmonics to unit norm on the sphere.
    """
    scales = dict(zip((p.l_out for p in spec.paths), spec.path_scales(), strict=True))
    degrees = degree_of_component(coupled_degrees(spec).messages).tolist()
    per_component = torch.tensor([scales[n] for n in degrees], dtype=torch.float64)
    return per_component / (4 * math.pi) ** 1.5


@final
class FunctionProduct:
    """Common part of the backends that multiply functions on the sphere.

    Args:
        spec: Specification of the product.
        features: Map from coefficients of component-normalized harmonics to values that
            represent the function of the features.
        filter: Map from coefficients of component-normalized harmonics to values of the
            filter at points.
    """

    def __init__(
        self,
        spec: TensorProductSpec,
        features: Float64[Tensor, "values sph_in"],
        filter: Float64[Tensor, "points sph_filter"],
    ) -> None:
        self._spec = spec
        self._degrees = coupled_degrees(spec)
        self._num_points = len(filter)
        l_in, l_filter, l_out = self._degrees
        self._pairs = [
            FunctionPair(l_in, l_filter, odd, features, filter)
            for odd in ([False] if spec.symmetry == "O(3)" else [False, True])
        ]
        self._repeat_in = Constant(component_has_degree(l_in))
        self._repeat_out = Constant(component_has_degree(l_out))

    def prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> FunctionEdges:
        """Maps from the operands of every edge to function values."""
        harmonics = spherical_harmonics(self._degrees.filter, directions)
        maps = tuple(pair.prepare(directions, harmonics) for pair in self._pairs)
        return FunctionEdges(maps, connectivity)

    def convolve(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        edges: FunctionEdges,
        weights: Float[Tensor, "edges num_weights channels"],
        multiply: Multiply,
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the products over the incoming edges of each node.

        Args:
            x: Node features.
            edges: Result of `prepare`.
            weights: Weights per degree, as in `TensorProduct.forward`.
            multiply: Function that multiplies two functions on the sphere.
        """
        senders, receivers = edges.connectivity.edge_index
        x = x[:, : num_components(self._degrees.features)]
        operands = [x.index_select(0, senders), weights, *itertools.chain(*edges.maps)]
        # Split, not slice: the gradient of each slice would be a tensor of all edges.
        size = self._edges_per_block(weights)
        blocks = zip(*(operand.split(size) for operand in operands), strict=True)
        messages = [
            self._messages(sent, w, maps, multiply) for sent, w, *maps in blocks
        ]
        received = scatter_sum(torch.cat(messages), receivers, len(x))
        without_path = self._spec.num_outputs - received.shape[1]
        return torch.nn.functional.pad(received, (0, 0, 0, without_path))

    def _messages(
        self,
        sent: Float[Tensor, "edges sph_in channels"],
        weights: Float[Tensor, "edges num_weights channels"],
        maps: list[Tensor],
        multiply: Multiply,
    ) -> Float[Tensor, "edges sph_out channels"]:
        parts = []
        for n, w in enumerate(self._split(weights)):
            pair = FunctionMaps(*maps[2 * n : 2 * n + 2])
            values = pair.features @ (sent * _repeat(self._repeat_in, w.features))
            product = multiply(values, pair.filter @ w.filter)
            parts.append(product * _repeat(self._repeat_out, w.messages))
        return sum(parts[1:], start=parts[0])

    def _split(
        self, weights: Float[Tensor, "edges num_weights channels"]
    ) -> list[Weights]:
        """Weights of every pair of functions, restricted to degrees with a path."""
        spec = self._spec
        sizes = [lmax + 1 for lmax in (spec.lmax_in, spec.lmax_filter, spec.lmax_out)]
        parts = weights.split(sizes * len(self._pairs), dim=1)
        coupled = [
            part[:, : lmax + 1]
            for part, lmax in zip(parts, self._degrees * len(self._pairs), strict=True)
        ]
        return [Weights(*coupled[n : n + 3]) for n in range(0, len(coupled), 3)]

    def _edges_per_block(self, weights: Float[Tensor, "edges _ channels"]) -> int:
        """Number of edges per block: all of them, except on a CPU."""
        edges, _, channels = weights.shape
        if weights.device.type == "cpu":
            edges = VALUES_PER_BLOCK // (self._num_points * max(1, channels))
        return max(1, edges)


def _repeat(
    orders: Constant, weights: Float[Tensor, "edges degrees channels"]
) -> Float[Tensor, "edges sph channels"]:
    """Repeat weights of degrees over their components.

    Implemented as a matrix product, which is faster than indexing, particularly in the
    backward pass.
    """
    return orders.like(weights).expand(len(weights), -1, -1) @ weights
