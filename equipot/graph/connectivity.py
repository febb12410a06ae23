"""Senders and receivers of edges, and sorted orders of edges for fast sums."""

from functools import cached_property
from typing import NamedTuple, final

import torch
from jaxtyping import Int
from torch import Tensor


class Segments(NamedTuple):
    """Edges grouped by node, as in a compressed sparse row matrix."""

    order: Int[Tensor, " edges"]
    """Edges sorted by node; the sort is stable."""
    pointers: Int[Tensor, " nodes_plus_1"]
    """Edges of node n are ``order[pointers[n]:pointers[n + 1]]``."""


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
    def by_receiver(self) -> Segments:
        """Edges grouped by receiver."""
        return _segments(self.receivers, self.num_nodes)

    @cached_property
    def by_sender(self) -> Segments:
        """Edges grouped by sender."""
        return _segments(self.senders, self.num_nodes)


def _segments(nodes: Int[Tensor, " edges"], num_nodes: int) -> Segments:
    order = torch.argsort(nodes, stable=True)
    bounds = torch.arange(num_nodes + 1, device=nodes.device)
    return Segments(order, torch.searchsorted(nodes[order], bounds))
