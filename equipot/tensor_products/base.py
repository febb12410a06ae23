"""The interface that every tensor-product backend implements."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.tensor_products.spec import TensorProductSpec

EdgeState = TypeVar("EdgeState")


class UnsupportedSpecError(ValueError):
    """A backend was asked for a product that it cannot compute."""


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

    @abstractmethod
    def prepare(self, directions: Float[Tensor, "edges 3"]) -> EdgeState:
        """Expand unit edge vectors once; layers of equal spec share the result."""

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        edges: EdgeState,
        weights: Float[Tensor, "edges num_weights channels"],
        edge_index: Int[Tensor, "2 edges"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the weighted products over the edges that arrive at each node.

        Args:
            x: Node features, degrees concatenated from 0 to `spec.lmax_in`.
            edges: What `prepare` returned for these edges.
            weights: Radial weights in the order of `spec.paths` (per path), or of the
                degrees of features, filter and messages (per degree).
            edge_index: Row 0 holds senders, row 1 the receivers that are summed over.

        Returns:
            Messages received by each node: degrees 0 to `spec.lmax_out`, or a block per
            path with ``accumulate="concat"``.
        """
