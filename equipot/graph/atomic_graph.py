r"""`AtomicGraph`: atoms and directed edges of one structure or a batch.

Edges point from the receiver to an image of the sender,

.. math:: r_{ij} = r_j + S_{ij} \cdot \mathrm{cell} - r_i,

with receiver :math:`i = ` ``edge_index[1]`` and sender :math:`j = ` ``edge_index[0]``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from equipot.graph.edge_pairs import EdgePairs, find_pairs, join_pairs, single_edges


@dataclass(frozen=True)
class AtomicGraph:
    """One or several structures as a graph with edges shorter than a cutoff.

    A batch of structures is one graph with disconnected components. Use
    `equipot.neighbors.build_graph` to create a graph.
    """

    positions: Float[Tensor, "atoms 3"]
    """Cartesian coordinates in Å."""
    atomic_numbers: Int[Tensor, " atoms"]
    """Atomic numbers."""
    cell: Float[Tensor, "graphs 3 3"]
    """Lattice vectors as rows in Å; rows of non-periodic directions are ignored."""
    pbc: Bool[Tensor, "graphs 3"]
    """Periodicity along each lattice vector."""
    batch: Int[Tensor, " atoms"]
    """Index of the structure of each atom, ascending."""
    edge_index: Int[Tensor, "2 edges"]
    """Senders (row 0) and receivers (row 1), sorted by receiver."""
    edge_shift: Int[Tensor, "edges 3"]
    """Lattice translations S of the senders."""
    cutoff: float
    """Radius in Å within which the edges are complete; longer edges may exist."""

    @property
    def num_atoms(self) -> int:
        """Number of atoms in all structures."""
        return len(self.positions)

    @property
    def num_edges(self) -> int:
        """Number of directed edges in all structures."""
        return self.edge_index.shape[1]

    @property
    def num_graphs(self) -> int:
        """Number of structures; a structure may have no atoms."""
        return len(self.cell)

    @cached_property
    def pairs(self) -> EdgePairs:
        """Pairs of opposite edges.

        Raises:
            ValueError: If the edges are invalid; see `check_edges`.
        """
        return check_edges(self)

    def to(
        self,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> "AtomicGraph":
        """Copy on another device and with another floating-point type."""
        graph = replace(
            self,
            positions=self.positions.to(device, dtype),
            cell=self.cell.to(device, dtype),
            **{
                name: getattr(self, name).to(device)
                for name in (
                    "atomic_numbers",
                    "pbc",
                    "batch",
                    "edge_index",
                    "edge_shift",
                )
            },
        )
        return with_pairs(graph, self.pairs.to(device))

    def moved(
        self, positions: Float[Tensor, "atoms 3"], cell: Float[Tensor, "graphs 3 3"]
    ) -> "AtomicGraph":
        """Copy with other positions and cell, and the same edges.

        All other tensors are the same objects as before, and pairs of edges that were
        already checked are not checked again.

        Args:
            positions: Cartesian coordinates in Å.
            cell: Lattice vectors as rows in Å.
        """
        graph = AtomicGraph(
            positions,
            self.atomic_numbers,
            cell,
            self.pbc,
            self.batch,
            self.edge_index,
            self.edge_shift,
            self.cutoff,
        )
        return with_pairs(graph, self.pairs) if "pairs" in vars(self) else graph


def edge_vectors(graph: AtomicGraph) -> Float[Tensor, "edges 3"]:
    r"""Vectors :math:`r_j + S \cdot \mathrm{cell} - r_i` from receivers to senders.

    Args:
        graph: Graph; positions and cell may require gradients.

    Returns:
        One vector per edge in Å, differentiable with respect to positions and cell.
    """
    senders, receivers = graph.edge_index
    shift = graph.edge_shift.to(graph.cell.dtype)
    translation = torch.einsum("ei,eij->ej", shift, graph.cell[graph.batch[receivers]])
    return graph.positions[senders] - graph.positions[receivers] + translation


def collate(graphs: Sequence[AtomicGraph]) -> AtomicGraph:
    """Join structures into a batch.

    Args:
        graphs: One or more graphs with equal cutoffs.

    Returns:
        The batch, with structures in the order of `graphs`.

    Raises:
        ValueError: If there is no graph or the cutoffs differ.
    """
    if not graphs:
        raise ValueError("cannot collate an empty sequence of graphs")
    cutoffs = {graph.cutoff for graph in graphs}
    if len(cutoffs) > 1:
        raise ValueError(
            f"graphs of one batch must have equal cutoffs, got {sorted(cutoffs)}; "
            "rebuild them with the cutoff of the model"
        )
    atoms = torch.tensor([0, *(g.num_atoms for g in graphs)]).cumsum(0).tolist()
    structures = torch.tensor([0, *(g.num_graphs for g in graphs)]).cumsum(0).tolist()
    joined = AtomicGraph(
        positions=torch.cat([g.positions for g in graphs]),
        atomic_numbers=torch.cat([g.atomic_numbers for g in graphs]),
        cell=torch.cat([g.cell for g in graphs]),
        pbc=torch.cat([g.pbc for g in graphs]),
        batch=torch.cat(
            [g.batch + n for g, n in zip(graphs, structures[:-1], strict=True)]
        ),
        edge_index=torch.cat(
            [g.edge_index + n for g, n in zip(graphs, atoms[:-1], strict=True)], dim=1
        ),
        edge_shift=torch.cat([g.edge_shift for g in graphs]),
        cutoff=graphs[0].cutoff,
    )
    return with_pairs(joined, join_pairs([graph.pairs for graph in graphs]))


def check_edges(graph: AtomicGraph) -> EdgePairs:
    """Check the invariants of edges that all models rely on.

    Completeness within the cutoff is not checked, since it requires a neighbor search:
    see `equipot.neighbors.check_complete`.

    Args:
        graph: Graph to check.

    Returns:
        Pairs of opposite edges.

    Raises:
        ValueError: If an edge has an invalid atom index, connects two structures, has
            no reverse, is a duplicate or a self-loop, or crosses a non-periodic
            boundary; if edges are not sorted by receiver, or atoms not by structure; or
            if a structure index is invalid.
    """
    if graph.num_atoms and bool((graph.batch.diff() < 0).any()):
        raise ValueError("atoms of a graph must be sorted by structure (batch)")
    if graph.num_atoms and (graph.batch[0] < 0 or graph.batch[-1] >= graph.num_graphs):
        raise ValueError(
            f"structure indices of atoms (batch) range from {int(graph.batch[0])} to "
            f"{int(graph.batch[-1])}, but the graph has {graph.num_graphs} structures: "
            "number them from 0"
        )
    if graph.num_edges == 0:
        return single_edges(0, graph.edge_index.device)
    lowest, highest = (int(n) for n in graph.edge_index.aminmax())
    if lowest < 0 or highest >= graph.num_atoms:
        raise ValueError(
            f"atom indices of edges range from {lowest} to {highest}, expected 0 to "
            f"{graph.num_atoms - 1}"
        )
    senders, receivers = graph.edge_index
    structure = graph.batch[receivers]
    if bool((receivers.diff() < 0).any()):
        raise ValueError(
            "edges must be sorted by receiver (edge_index[1]): sort edge_index and "
            "edge_shift together, or use from_pyg, which sorts them"
        )
    if bool((graph.batch[senders] != structure).any()):
        raise ValueError("an edge connects atoms of two structures of the batch")
    if bool((graph.edge_shift.bool() & ~graph.pbc[structure]).any()):
        raise ValueError(
            "an edge has a translation along a non-periodic direction: set pbc "
            "and cell, or the translation to zero"
        )
    return find_pairs(graph.edge_index, graph.edge_shift)


def partial_graph(graph: AtomicGraph) -> AtomicGraph:
    """Mark a graph as a subgraph of another one.

    Its edges need not have reverses: the outermost atoms receive no messages. Atomic
    energies are exact for atoms whose receptive field is included.

    Args:
        graph: Graph; its edges are not checked.
    """
    return with_pairs(graph, single_edges(graph.num_edges, graph.edge_index.device))


def with_pairs(graph: AtomicGraph, pairs: EdgePairs) -> AtomicGraph:
    """The graph with pairs of edges that were computed and checked before."""
    vars(graph)["pairs"] = pairs
    return graph
