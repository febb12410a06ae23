"""Who sends to whom, and the orders of edges in which sums over them are fast."""

from functools import cached_property
from typing import NamedTuple, final

import torch
from jaxtyping import Int
from torch import Tensor


class Segments(NamedTuple):
    """Edges grouped by a node, as in a matrix of compressed sparse rows."""

    order: Int[Tensor, " edges"]
    """Edges, those of node 0 first; edges of one node keep their order."""
    pointers: Int[Tensor, " nodes_plus_1"]
    """Edges of node n are ``order[pointers[n]:pointers[n + 1]]``."""


@final
class Connectivity:
    """Directed edges between the nodes of a graph.

    Args:
        edge_index: Row 0 holds senders, row 1 the receivers that sums run over.
        num_nodes: Nodes, with or without edges.
    """

    def __init__(self, edge_index: Int[Tensor, "2 edges"], num_nodes: int) -> None:
        # Compiled ops read rows; NumPy may have stored the columns one after another.
        self.edge_index = edge_index.contiguous()
        self.num_nodes = num_nodes

    @property
    def senders(self) -> Int[Tensor, " edges"]:
        """Node at which each edge starts."""
        return self.edge_index[0]

    @property
    def receivers(self) -> Int[Tensor, " edges"]:
        """Node at which each edge ends."""
        return self.edge_index[1]

    @property
    def num_edges(self) -> int:
        """Directed edges."""
        return self.edge_index.shape[1]

    @cached_property
    def sorted_by_receiver(self) -> bool:
        """Whether receivers ascend, as in every `AtomicGraph`."""
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
