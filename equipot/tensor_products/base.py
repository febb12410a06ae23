"""Abstract base class of tensor-product backends."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from equipot.graph.connectivity import Connectivity
from equipot.so3 import num_components
from equipot.tensor_products.spec import TensorProductSpec

EdgeState = TypeVar("EdgeState")


class UnsupportedSpecError(ValueError):
    """The backend does not support the specification of a product."""


class BackendUnavailableError(ImportError):
    """A package or library of a backend is missing; the message has the remedy."""


class TensorProduct(nn.Module, ABC, Generic[EdgeState]):
    """Equivariant convolution of node features with edge directions.

    A backend holds constants only, no parameters and no buffers, so checkpoints do not
    depend on the backend.
    """

    def __init__(self, spec: TensorProductSpec) -> None:
        super().__init__()
        if (reason := self.unsupported(spec)) is not None:
            raise UnsupportedSpecError(
                f"{type(self).__name__} cannot compute {spec}: {reason}"
            )
        self.spec = spec
        self.register_forward_pre_hook(_check_operands)

    @staticmethod
    @abstractmethod
    def unsupported(spec: TensorProductSpec) -> str | None:
        """Reason why this backend does not support `spec`; None if it does."""

    @property
    def edge_state_key(self) -> Hashable:
        """Key of the edge state; products with equal keys share it."""
        return self.spec

    @abstractmethod
    def prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> EdgeState:
        """Precompute the edge state, shared by layers with equal `edge_state_key`.

        Args:
            directions: Unit vectors of the edges.
            connectivity: Senders and receivers of the same edges, in any order.
        """

    def num_edges(self, edges: EdgeState) -> int | None:
        """Number of edges of an edge state; None if not defined by it."""
        parts = edges if isinstance(edges, tuple) else ()
        return next((p.num_edges for p in parts if isinstance(p, Connectivity)), None)

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        edges: EdgeState,
        weights: Float[Tensor, "edges num_weights channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the weighted products over the incoming edges of each node.

        Args:
            x: Node features, degrees concatenated from 0 to `spec.lmax_in`.
            edges: Result of `prepare` for these edges.
            weights: Radial weights in the order of `spec.paths` (per path), or of the
                degrees of features, filter and messages (per degree).

        Returns:
            Messages received by each node: degrees 0 to `spec.lmax_out`, or a block per
            path with ``accumulate="concat"``.

        Raises:
            ValueError: If a shape does not match `spec`; checked before the call.
        """


def _check_operands(product: nn.Module, operands: tuple[Any, ...]) -> None:
    """Raise for operands whose shapes do not match the specification."""
    if not isinstance(product, TensorProduct) or len(operands) != 3:
        return  # keyword arguments are not checked
    x, edges, weights = operands
    spec = product.spec
    number = product.num_edges(edges)
    channels = x.shape[-1] if x.ndim == 3 else None
    features = (x.shape[0] if x.ndim else 0, num_components(spec.lmax_in), channels)
    per_edge = (number, spec.num_weights, channels)
    if number is None and weights.ndim:
        per_edge = (weights.shape[0], *per_edge[1:])
    if tuple(x.shape) != features or tuple(weights.shape) != per_edge:
        counted = "edges" if number is None else f"{number} edges"
        raise ValueError(
            f"{type(product).__name__} of lmax_in {spec.lmax_in}, lmax_filter "
            f"{spec.lmax_filter}, lmax_out {spec.lmax_out} expects features of shape "
            f"(nodes, {features[1]}, channels) and weights of shape ({counted}, "
            f"{spec.num_weights}, channels), got {tuple(x.shape)} and "
            f"{tuple(weights.shape)}"
        )
