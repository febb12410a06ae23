r"""`AtomicGraph`: atoms and the directed edges between them. A batch is one graph.

Edges point from the receiver to an image of the sender,

.. math:: r_{ij} = r_j + S_{ij} \cdot \mathrm{cell} - r_i,

with receiver :math:`i = ` ``edge_index[1]`` and sender :math:`j = ` ``edge_index[0]``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from equipot.edge_pairs import EdgePairs, find_pairs, join_pairs


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
        """Edges with their reverses."""
        return find_pairs(self.edge_index, self.edge_shift)

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


def from_pyg(data: Any, cutoff: float) -> AtomicGraph:
    """Graph from a `torch_geometric` ``Data`` or ``Batch``.

    Args:
        data: Holds ``pos``, ``z``, ``edge_index`` (senders, receivers) and, for
            periodic structures, ``cell``, ``pbc`` and integer ``edge_shift``;
            ``batch`` if it is a batch.
        cutoff: Radius in Å that its edges were built with.

    Returns:
        The same atoms and edges, edges sorted by receiver.

    Raises:
        ValueError: If a field is missing.
    """
    missing = [k for k in ("pos", "z", "edge_index") if getattr(data, k, None) is None]
    if missing:
        raise ValueError(
            f"a PyG graph needs pos, z and edge_index; {', '.join(missing)} missing"
        )
    positions = data.pos
    batch = getattr(data, "batch", None)
    if batch is None:
        batch = torch.zeros(len(positions), dtype=torch.long, device=positions.device)
    num_graphs = getattr(data, "num_graphs", 1)
    order = torch.argsort(data.edge_index[1], stable=True)
    cell, pbc = getattr(data, "cell", None), getattr(data, "pbc", None)
    shift = getattr(data, "edge_shift", None)
    if pbc is not None and bool(pbc.any()) and (cell is None or shift is None):
        raise ValueError("a periodic PyG graph needs cell and edge_shift")
    if cell is None:
        cell = positions.new_zeros(num_graphs, 3, 3)
    if pbc is None:
        pbc = torch.zeros(num_graphs, 3, dtype=torch.bool, device=positions.device)
    if shift is None:
        shift = torch.zeros_like(order)[:, None].expand(-1, 3)
    return AtomicGraph(
        positions=positions,
        atomic_numbers=data.z.long(),
        cell=cell.reshape(num_graphs, 3, 3).to(positions.dtype),
        pbc=pbc.reshape(num_graphs, 3).bool(),
        batch=batch,
        edge_index=data.edge_index[:, order],
        edge_shift=shift[order].long(),
        cutoff=cutoff,
    )


def _with_pairs(graph: AtomicGraph, pairs: EdgePairs) -> AtomicGraph:
    """The same graph, which need not look for its pairs."""
    vars(graph)["pairs"] = pairs
    return graph
