"""Graphs of pairs within another cutoff than that of the backbone."""

from dataclasses import replace

import ase
import torch

from equipot.graph.atomic_graph import AtomicGraph, collate, edge_vectors
from equipot.neighbors import build_graph

MAX_ALL_PAIRS_ATOMS = 2048
"""Largest number of atoms of a molecule for which all distances are computed, which is
then faster than a neighbor search."""


def within(graph: AtomicGraph, cutoff: float) -> AtomicGraph:
    """Subgraph of the edges within a cutoff.

    Args:
        graph: Graph with at least this cutoff.
        cutoff: Radius in Å.

    Raises:
        ValueError: If the cutoff of the graph is shorter.
    """
    if graph.cutoff < cutoff:
        raise ValueError(
            f"the cutoff of the graph is {graph.cutoff} Å, expected at least {cutoff} Å"
        )
    kept = edge_vectors(graph).detach().norm(dim=1) < cutoff
    return replace(
        graph,
        edge_index=graph.edge_index[:, kept],
        edge_shift=graph.edge_shift[kept],
        cutoff=cutoff,
    )


def pair_graph(graph: AtomicGraph, cutoff: float) -> AtomicGraph:
    """Graph of the same atoms with all pairs within a cutoff.

    Args:
        graph: Graph of any cutoff, whose edges are used if it is large enough.
        cutoff: Radius in Å.
    """
    if graph.cutoff >= cutoff:
        return within(graph, cutoff)
    if not bool(graph.pbc.any()) and graph.num_atoms <= MAX_ALL_PAIRS_ATOMS:
        return _molecular_pairs(graph, cutoff)
    return collate([_search(graph, n, cutoff) for n in range(graph.num_graphs)])


def _molecular_pairs(graph: AtomicGraph, cutoff: float) -> AtomicGraph:
    positions = graph.positions.detach()
    near = (positions[:, None] - positions[None]).norm(dim=2) < cutoff
    near &= graph.batch[:, None] == graph.batch[None]
    near.fill_diagonal_(fill_value=False)
    receivers, senders = near.nonzero(as_tuple=True)
    return replace(
        graph,
        edge_index=torch.stack([senders, receivers]),
        edge_shift=receivers.new_zeros(len(receivers), 3),
        cutoff=cutoff,
    )


def _search(graph: AtomicGraph, n: int, cutoff: float) -> AtomicGraph:
    """Graph of one structure of a batch by a neighbor search."""
    own = graph.batch == n
    positions, cell = graph.positions[own], graph.cell[n : n + 1]
    atoms = ase.Atoms(
        graph.atomic_numbers[own].cpu().numpy(),
        positions.detach().cpu().numpy(),
        cell=cell[0].detach().cpu().numpy(),
        pbc=graph.pbc[n].cpu().numpy(),
    )
    found = build_graph(atoms, cutoff, dtype=positions.dtype, device=positions.device)
    # positions and cell may require gradients
    return replace(found, positions=positions, cell=cell)
