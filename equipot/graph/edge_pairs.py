"""Pairs of opposite edges, which share all functions of the distance."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor


@final
@dataclass(frozen=True)
class EdgePairs:
    """Undirected edges of a graph, each a pair of opposite directed edges."""

    of_edge: Int[Tensor, " edges"]
    """Index of the pair of each directed edge."""
    forward: Int[Tensor, " pairs"]
    """One edge of each pair, ascending."""
    backward: Int[Tensor, " pairs"]
    """The reverse edge; equal to `forward` if an edge has no reverse."""

    @property
    def alone(self) -> bool:
        """Whether edges are not paired, so that each is a pair by itself."""
        return len(self.forward) == len(self.of_edge)

    @property
    def reverse(self) -> Int[Tensor, " edges"]:
        """Reverse of each edge; the edge itself if edges are not paired."""
        out = torch.empty_like(self.of_edge)
        out[self.forward], out[self.backward] = self.backward, self.forward
        return out

    def expand(
        self, values: Float[Tensor, "pairs columns"]
    ) -> Float[Tensor, "edges columns"]:
        """Values of the pair of each edge, differentiable to any order."""
        if self.alone:
            return values
        out: Tensor = _Expand.apply(values, self.of_edge, self.forward, self.backward)
        return out

    def to(self, device: torch.device | str | None) -> "EdgePairs":
        """Copy on another device."""
        return EdgePairs(*(getattr(self, f.name).to(device) for f in fields(self)))


def find_pairs(
    edge_index: Int[Tensor, "2 edges"], edge_shift: Int[Tensor, "edges 3"]
) -> EdgePairs:
    """Match every edge with its reverse.

    Args:
        edge_index: Senders and receivers.
        edge_shift: Lattice translations S of the senders; the reverse edge has -S.

    Returns:
        Pairs of opposite edges.

    Raises:
        ValueError: If an edge has no reverse, is a duplicate or a self-loop; the
            message contains the first such edge.
    """
    edges = torch.arange(edge_index.shape[1], device=edge_index.device)
    if len(edges) == 0:
        return single_edges(0, edge_index.device)
    there, back = _edge_numbers(edge_index, edge_shift)
    by_there, by_back = there.argsort(stable=True), back.argsort(stable=True)
    sorted_there = there[by_there]
    if bool((sorted_there.diff() == 0).any()):
        twice = by_there[1:][sorted_there.diff() == 0]
        raise ValueError(
            f"duplicate edges: {_list(edge_index, edge_shift, twice)}; copies would "
            "be counted twice: remove them"
        )
    if not torch.equal(sorted_there, back[by_back]):
        alone = (~torch.isin(there, back)).nonzero()[:, 0]
        raise ValueError(
            f"edges without a reverse: {_list(edge_index, edge_shift, alone)}; a graph "
            "needs both directions of every pair of atoms, with opposite translations: "
            "build it with build_graph, or add the missing edges"
        )
    reverse = torch.empty_like(edges)
    reverse[by_there] = by_back
    if bool((reverse == edges).any()):
        loops = (reverse == edges).nonzero()[:, 0]
        raise ValueError(
            f"self-loops: {_list(edge_index, edge_shift, loops)}; no atom is its own "
            "neighbor, only its images in other cells are: remove them"
        )
    forward = (edges < reverse).nonzero()[:, 0]
    backward = reverse[forward]
    of_edge = torch.empty_like(edges)
    of_edge[forward] = of_edge[backward] = edges[: len(forward)]
    return EdgePairs(of_edge, forward, backward)


def single_edges(count: int, device: torch.device | None = None) -> EdgePairs:
    """Edges without pairing: each is a pair by itself.

    Args:
        count: Number of edges.
        device: Device of the result.
    """
    edges = torch.arange(count, device=device)
    return EdgePairs(edges, edges, edges)


def _edge_numbers(
    edge_index: Int[Tensor, "2 edges"], edge_shift: Int[Tensor, "edges 3"]
) -> tuple[Int[Tensor, " edges"], Int[Tensor, " edges"]]:
    """Unique number of each edge, and that of its reverse."""
    nodes = int(edge_index.max()) + 1
    width = 2 * int(edge_shift.abs().max()) + 1
    if nodes**2 * width**3 < 2**63:
        x, y, z = (edge_shift + width // 2).unbind(1)
        shift = (x * width + y) * width + z
        senders, receivers = edge_index
        there = (receivers * nodes + senders) * width**3 + shift
        back = (senders * nodes + receivers) * width**3 + (width**3 - 1 - shift)
        return there, back
    # Products would overflow for such large ranges: number the sorted rows instead
    rows = torch.cat([edge_index.T, edge_shift], dim=1)
    reverses = torch.cat([edge_index.flip(0).T, -edge_shift], dim=1)
    numbers = torch.unique(torch.cat([rows, reverses]), dim=0, return_inverse=True)[1]
    there, back = numbers.chunk(2)
    return there, back


def _list(
    edge_index: Int[Tensor, "2 edges"],
    edge_shift: Int[Tensor, "edges 3"],
    edges: Int[Tensor, " some"],
) -> str:
    """Number of edges, and the first of them, as text."""
    first = edges.min()
    sender, receiver = edge_index[:, first].tolist()
    return (
        f"{len(edges)}, such as atom {sender} to atom {receiver} with translation "
        f"{edge_shift[first].tolist()}"
    )


def join_pairs(parts: Sequence[EdgePairs]) -> EdgePairs:
    """Pairs of the graphs of a batch.

    Args:
        parts: Pairs of one or more graphs. If one is unpaired, the result is.
    """
    pairs = [0, *accumulate(len(part.forward) for part in parts)]
    edges = [0, *accumulate(len(part.of_edge) for part in parts)]
    if any(part.alone and len(part.of_edge) > 0 for part in parts):
        return single_edges(edges[-1], parts[0].of_edge.device)
    return EdgePairs(
        torch.cat([p.of_edge + n for p, n in zip(parts, pairs[:-1], strict=True)]),
        torch.cat([p.forward + n for p, n in zip(parts, edges[:-1], strict=True)]),
        torch.cat([p.backward + n for p, n in zip(parts, edges[:-1], strict=True)]),
    )


class _Expand(torch.autograd.Function):
    """Gather rows; the derivative is a sum of two rows instead of a scatter."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        values: Tensor, of_edge: Tensor, forward: Tensor, backward: Tensor
    ) -> Tensor:
        return values.index_select(0, of_edge)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _SumOfPairs.apply(gradient, *ctx.saved_tensors), None, None, None


class _SumOfPairs(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        values: Tensor, of_edge: Tensor, forward: Tensor, backward: Tensor
    ) -> Tensor:
        return values.index_select(0, forward) + values.index_select(0, backward)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> Any:
        return _Expand.apply(tangent, *ctx.saved_tensors), None, None, None
