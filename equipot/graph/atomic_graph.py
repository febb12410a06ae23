r"""`AtomicGraph`: atoms and the directed edges between them. A batch is one graph.

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
    """Structures and the pairs of atoms closer than a cutoff.

    A single structure and a batch of structures are the same type: a batch is one graph
    whose parts are not connected. Build one with `equipot.neighbors.build_graph`.
    """

    positions: Float[Tensor, "atoms 3"]
    """Cartesian coordinates in Å."""
    atomic_numbers: Int[Tensor, " atoms"]
    """Nuclear charges."""
    cell: Float[Tensor, "graphs 3 3"]
    """Lattice vectors as rows in Å; rows of free directions carry no meaning."""
    pbc: Bool[Tensor, "graphs 3"]
    """Which lattice directions repeat."""
    batch: Int[Tensor, " atoms"]
    """Structure that every atom belongs to, ascending."""
    edge_index: Int[Tensor, "2 edges"]
    """Senders (row 0) and receivers (row 1); sorted by receiver."""
    edge_shift: Int[Tensor, "edges 3"]
    """Lattice translations S of the senders."""
    cutoff: float
    """Radius in Å within which the edges are complete; there may be longer ones."""

    @property
    def num_atoms(self) -> int:
        """Atoms in all structures."""
        return len(self.positions)

    @property
    def num_edges(self) -> int:
        """Directed edges in all structures."""
        return self.edge_index.shape[1]

    @property
    def num_graphs(self) -> int:
        """Structures; one may be without atoms."""
        return len(self.cell)

    @cached_property
    def pairs(self) -> EdgePairs:
        """Edges with their reverses.

        Raises:
            ValueError: If the edges are not those of a graph; see `check_edges`.
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
        return _with_pairs(graph, self.pairs.to(device))


def edge_vectors(graph: AtomicGraph) -> Float[Tensor, "edges 3"]:
    r"""Vectors :math:`r_j + S \cdot \mathrm{cell} - r_i` from receivers to senders.

    Args:
        graph: Its positions and cells may require gradients.

    Returns:
        One vector per edge in Å, differentiable with respect to positions and cells.
    """
    senders, receivers = graph.edge_index
    shift = graph.edge_shift.to(graph.cell.dtype)
    translation = torch.einsum("ei,eij->ej", shift, graph.cell[graph.batch[receivers]])
    return graph.positions[senders] - graph.positions[receivers] + translation


def collate(graphs: Sequence[AtomicGraph]) -> AtomicGraph:
    """Join structures into one graph.

    Args:
        graphs: At least one graph, all built with the same cutoff.

    Returns:
        The batch; its structures are in the order of `graphs`.

    Raises:
        ValueError: If there is no graph or the cutoffs differ.
    """
    if not graphs:
        raise ValueError("cannot collate an empty sequence of graphs")
    cutoffs = {graph.cutoff for graph in graphs}
    if len(cutoffs) > 1:
        raise ValueError(
            f"graphs of one batch must have one cutoff, got {sorted(cutoffs)}; "
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
    return _with_pairs(joined, join_pairs([graph.pairs for graph in graphs]))


def check_edges(graph: AtomicGraph) -> EdgePairs:
    """Check that edges are what every model assumes of them.

    That all pairs of atoms within the cutoff are there needs a search for neighbors:
    see `equipot.neighbors.check_complete`.

    Args:
        graph: Any graph.

    Returns:
        The pairs of its edges.

    Raises:
        ValueError: If an edge names an atom that is not there, joins two structures,
            has no reverse, is there twice, leads from an atom to itself, or crosses a
            boundary that is not periodic; if edges are not sorted by receiver, or atoms
            not by structure, or are of a structure that is not there.
    """
    if graph.num_atoms and bool((graph.batch.diff() < 0).any()):
        raise ValueError("atoms of a graph must be sorted by structure (batch)")
    if graph.num_atoms and (graph.batch[0] < 0 or graph.batch[-1] >= graph.num_graphs):
        raise ValueError(
            f"atoms are of the structures {int(graph.batch[0])} to "
            f"{int(graph.batch[-1])} (batch), the graph has {graph.num_graphs}: number "
            "them from 0"
        )
    if graph.num_edges == 0:
        return single_edges(0, graph.edge_index.device)
    lowest, highest = (int(n) for n in graph.edge_index.aminmax())
    if lowest < 0 or highest >= graph.num_atoms:
        raise ValueError(
            f"edges name the atoms {lowest} to {highest}, the graph has atoms 0 to "
            f"{graph.num_atoms - 1}"
        )
    senders, receivers = graph.edge_index
    structure = graph.batch[receivers]
    if bool((receivers.diff() < 0).any()):
        raise ValueError(
            "edges must be sorted by receiver (edge_index[1]): sort edge_index and "
            "edge_shift together, or use from_pyg, which does"
        )
    if bool((graph.batch[senders] != structure).any()):
        raise ValueError("an edge joins atoms of two structures of the batch")
    if bool((graph.edge_shift.bool() & ~graph.pbc[structure]).any()):
        raise ValueError(
            "an edge has a translation along a direction that is not periodic: set pbc "
            "and cell, or the translation to zero"
        )
    return find_pairs(graph.edge_index, graph.edge_shift)


def partial_graph(graph: AtomicGraph) -> AtomicGraph:
    """Declare that a graph is a part of another one, cut out of it.

    Its edges need not have reverses: the outermost atoms receive nothing. Energies of
    atoms that the cut does not reach are those of the whole.

    Args:
        graph: Any graph; its edges are not checked.
    """
    return _with_pairs(graph, single_edges(graph.num_edges, graph.edge_index.device))


def _with_pairs(graph: AtomicGraph, pairs: EdgePairs) -> AtomicGraph:
    """The same graph, which need not look for its pairs."""
    vars(graph)["pairs"] = pairs
    return graph
