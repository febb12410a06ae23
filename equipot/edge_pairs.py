"""Edges and their reverses: what depends on a length is computed once for both."""

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
    """Undirected edges of a graph, each of two directed ones of equal length."""

    of_edge: Int[Tensor, " edges"]
    """Pair that each directed edge belongs to."""
    forward: Int[Tensor, " pairs"]
    """One edge of each pair, ascending."""
    backward: Int[Tensor, " pairs"]
    """The other; the same one where an edge has no reverse."""

    @property
    def alone(self) -> bool:
        """Whether each edge is a pair of its own."""
        return len(self.forward) == len(self.of_edge)

    @property
    def reverse(self) -> Int[Tensor, " edges"]:
        """The other edge of the pair of each; itself for an edge that is alone."""
        out = torch.empty_like(self.of_edge)
        out[self.forward], out[self.backward] = self.backward, self.forward
        return out

    def expand(
        self, values: Float[Tensor, "pairs columns"]
    ) -> Float[Tensor, "edges columns"]:
        """Values of the pair of every edge, differentiable to every order."""
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
    """Match every edge with the one that leads back.

    Args:
        edge_index: Senders and receivers.
        edge_shift: Lattice translations S of the senders; the edge back has -S.

    Returns:
        Pairs; each edge alone unless every one has a reverse.
    """
    edges = torch.arange(edge_index.shape[1], device=edge_index.device)
    without_reverses = EdgePairs(edges, edges, edges)
    if len(edges) == 0:
        return without_reverses
    nodes = int(edge_index.max()) + 1
    reach = int(edge_shift.abs().max())
    width = 2 * reach + 1
    if nodes**2 * width**3 >= 2**63:  # numbers of the edges would overflow
        return without_reverses
    senders, receivers = edge_index
    x, y, z = (edge_shift + reach).unbind(1)
    shift = (x * width + y) * width + z
    there = (receivers * nodes + senders) * width**3 + shift
    back = (senders * nodes + receivers) * width**3 + (width**3 - 1 - shift)
    by_there, by_back = there.argsort(stable=True), back.argsort(stable=True)
    if not torch.equal(there[by_there], back[by_back]):
        return without_reverses
    reverse = torch.empty_like(edges)
    reverse[by_there] = by_back
    if bool((reverse == edges).any()):
        return without_reverses
    forward = (edges < reverse).nonzero()[:, 0]
    backward = reverse[forward]
    of_edge = torch.empty_like(edges)
    of_edge[forward] = of_edge[backward] = edges[: len(forward)]
    return EdgePairs(of_edge, forward, backward)


def join_pairs(parts: Sequence[EdgePairs]) -> EdgePairs:
    """Pairs of graphs that follow each other in a batch.

    Args:
        parts: Of the graphs, at least one. If edges of one are alone, all are.
    """
    pairs = [0, *accumulate(len(part.forward) for part in parts)]
    edges = [0, *accumulate(len(part.of_edge) for part in parts)]
    if any(part.alone and len(part.of_edge) > 0 for part in parts):
        every = torch.arange(edges[-1], device=parts[0].of_edge.device)
        return EdgePairs(every, every, every)
    return EdgePairs(
        torch.cat([p.of_edge + n for p, n in zip(parts, pairs[:-1], strict=True)]),
        torch.cat([p.forward + n for p, n in zip(parts, edges[:-1], strict=True)]),
        torch.cat([p.backward + n for p, n in zip(parts, edges[:-1], strict=True)]),
    )


class _Expand(torch.autograd.Function):
    """Copies of rows; a gather, whose derivative is a sum without scattering."""

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
