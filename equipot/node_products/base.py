"""Abstract base class of node-product backends."""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.node_products.spec import NodeProductSpec
from equipot.so3 import num_components
from equipot.tensor_products.base import UnsupportedSpecError


class NodeProduct(nn.Module, ABC):
    """Equivariant polynomial of the features of each node, channel by channel.

    A backend holds constants only, no parameters and no buffers, so checkpoints do not
    depend on the backend.
    """

    def __init__(self, spec: NodeProductSpec) -> None:
        super().__init__()
        if (reason := self.unsupported(spec)) is not None:
            raise UnsupportedSpecError(
                f"{type(self).__name__} cannot compute {spec}: {reason}"
            )
        self.spec = spec

    @staticmethod
    @abstractmethod
    def unsupported(spec: NodeProductSpec) -> str | None:
        """Reason why this backend does not support `spec`; None if it does."""

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        weights: Float[Tensor, "rows num_weights channels"],
        rows: Int[Tensor, " nodes"] | None = None,
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the weighted products of 1 to `spec.order` factors at each node.

        Args:
            x: Node features, degrees concatenated from 0 to `spec.lmax_in`.
            weights: Weights, one row for all nodes that share them, such as those of an
                element. Per path: in the order of `spec.blocks`. Per degree: for each
                number of factors, by degree of the first factor, of the second, ...,
                then of the result.
            rows: Row of each node; None if there is one row for each node.

        Returns:
            Products of each node, degrees concatenated from 0 to `spec.lmax_out`.

        Raises:
            ValueError: If a shape does not match `spec`.
        """
        nodes, channels = (x.shape[0], x.shape[2]) if x.ndim == 3 else (-1, -1)
        features = (nodes, num_components(self.spec.lmax_in), channels)
        per_row = (self.spec.num_weights, channels)
        if (
            x.shape != features
            or weights.shape[1:] != per_row
            or len(x) != len(weights if rows is None else rows)
        ):
            given = "" if rows is None else f" with {len(rows)} row numbers"
            raise ValueError(
                f"{self.spec} expects features of shape (nodes, {features[1]}, "
                f"channels) and weights of shape (nodes, {per_row[0]}, channels), or "
                "any number of rows and the row of each node, got "
                f"{tuple(x.shape)} and {tuple(weights.shape)}{given}"
            )
        return self.product(x, weights, rows)

    @abstractmethod
    def product(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        weights: Float[Tensor, "rows num_weights channels"],
        rows: Int[Tensor, " nodes"] | None,
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Implementation of `forward`, for operands of valid shapes."""


def weights_of_nodes(
    weights: Float[Tensor, "rows num_weights channels"],
    rows: Int[Tensor, " nodes"] | None,
) -> Float[Tensor, "nodes num_weights channels"]:
    """Weights of each node."""
    return weights if rows is None else weights[rows]
