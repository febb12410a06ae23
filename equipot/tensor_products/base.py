"""The interface that every tensor-product backend implements."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Generic, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from equipot.connectivity import Connectivity
from equipot.tensor_products.spec import TensorProductSpec

EdgeState = TypeVar("EdgeState")


class UnsupportedSpecError(ValueError):
    """A backend was asked for a product that it cannot compute."""


class BackendUnavailableError(ImportError):
    """A backend lacks a package or a compiled library; says how to get it."""


class TensorProduct(nn.Module, ABC, Generic[EdgeState]):
    """Equivariant convolution of node features with the directions of their edges.

    A backend holds constants only: no parameters and no buffers. Models
    therefore have the same checkpoint whichever backend computes them.
    """

    def __init__(self, spec: TensorProductSpec) -> None:
        super().__init__()
        if (reason := self.unsupported(spec)) is not None:
            raise UnsupportedSpecError(
                f"{type(self).__name__} cannot compute {spec}: {reason}"
            )
        self.spec = spec

    @staticmethod
    @abstractmethod
    def unsupported(spec: TensorProductSpec) -> str | None:
        """Why this backend cannot compute `spec`, or None if it can."""

    @property
    def edge_state_key(self) -> Hashable:
        """Products of one backend whose keys are equal share what `prepare` returns."""
        return self.spec

    @abstractmethod
    def prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> EdgeState:
        """Expand the edges once; layers of equal `edge_state_key` share the result.

        Args:
            directions: Unit vectors of the edges.
            connectivity: Senders and receivers of the same edges, in any order.
        """

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        edges: EdgeState,
        weights: Float[Tensor, "edges num_weights channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the weighted products over the edges that arrive at each node.

        Args:
            x: Node features, degrees concatenated from 0 to `spec.lmax_in`.
            edges: What `prepare` returned for these edges.
            weights: Radial weights in the order of `spec.paths` (per path), or of the
                degrees of features, filter and messages (per degree).

        Returns:
            Messages received by each node: degrees 0 to `spec.lmax_out`, or a block per
            path with ``accumulate="concat"``.
        """
