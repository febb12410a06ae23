"""Senders and receivers of edges, and sorted orders of edges for fast sums."""

from functools import cached_property
from typing import NamedTuple, final

import torch
from jaxtyping import Int
from torch import Tensor


class CompressedEdges(NamedTuple):
    """Edges sorted by receiver, as a matrix of compressed sparse rows; all int64.

    These are the operands in which compiled ops take edges.
    """

    senders: Int[Tensor, " edges"]
    receivers: Int[Tensor, " edges"]
    receiver_pointers: Int[Tensor, " nodes_plus_1"]
    """Edges that arrive at n: ``receiver_pointers[n]`` up to the next."""
    sender_order: Int[Tensor, " edges"]
    """Edges in the order of their senders."""
    sender_pointers: Int[Tensor, " nodes_plus_1"]
    """Edges that leave n: ``sender_order[sender_pointers[n]]`` up to the next."""


@final
class Connectivity:
    """Directed edges between the nodes of a graph.

    Args:
        edge_index: Senders (row 0) and receivers (row 1); sums run over receivers.
        num_nodes: Number of nodes, including those without edges.
    """

    def __init__(self, edge_index: Int[Tensor, "2 edges"], num_nodes: int) -> None:
        # Compiled operations need contiguous rows
        self.edge_index = edge_index.contiguous()
        self.num_nodes = num_nodes

    @property
    def senders(self) -> Int[Tensor, " edges"]:
        """Sender of each edge."""
        return self.edge_index[0]

    @property
    def receivers(self) -> Int[Tensor, " edges"]:
        """Receiver of each edge."""
        return self.edge_index[1]

    @property
    def num_edges(self) -> int:
        """Number of directed edges."""
        return self.edge_index.shape[1]

    @cached_property
    def sorted_by_receiver(self) -> bool:
        """Whether edges are sorted by receiver, as in every `AtomicGraph`."""
        return bool((self.receivers.diff() >= 0).all())

    @cached_property
    def receiver_order(self) -> Int[Tensor, " edges"]:
        """Edges in the order of their receivers; those of one node keep their order."""
        return torch.argsort(self.receivers, stable=True)

    @cached_property
    def compressed(self) -> CompressedEdges:
        """The same edges for compiled ops.

        Raises:
            ValueError: If receivers do not ascend.
        """
        if not self.sorted_by_receiver:
            raise ValueError(
                "edges must be sorted by receiver: reorder them by receiver_order"
            )
        order = torch.argsort(self.senders, stable=True)
        return CompressedEdges(
            self.senders,
            self.receivers,
            self._pointers(self.receivers),
            order,
            self._pointers(self.senders[order]),
        )

    def _pointers(self, nodes: Int[Tensor, " edges"]) -> Int[Tensor, " nodes_plus_1"]:
        """Position of the first edge of each node in an ascending list."""
        bounds = torch.arange(self.num_nodes + 1, device=nodes.device)
        return torch.searchsorted(nodes, bounds)
