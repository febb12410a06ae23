"""Pairs of atoms beyond the edges that a backbone exchanges messages along."""

from dataclasses import replace

import ase
import torch

from equipot.graph.atomic_graph import AtomicGraph, collate, edge_vectors
from equipot.neighbors import build_graph

MOST_ATOMS = 2048
"""Atoms of molecules up to which all distances are cheaper than a search."""


def within(graph: AtomicGraph, cutoff: float) -> AtomicGraph:
    """Graph with the edges shorter than a cutoff.

    Args:
        graph: Complete within at least the cutoff.
        cutoff: Radius in Å.

    Raises:
        ValueError: If the graph is of a shorter cutoff.
    """
    if graph.cutoff < cutoff:
        raise ValueError(
            f"the graph holds edges up to {graph.cutoff} Å, less than {cutoff} Å"
        )
    kept = edge_vectors(graph).detach().norm(dim=1) < cutoff
    return replace(
        graph,
        edge_index=graph.edge_index[:, kept],
        edge_shift=graph.edge_shift[kept],
        cutoff=cutoff,
    )


def pair_graph(graph: AtomicGraph, cutoff: float) -> AtomicGraph:
    """The same atoms with all pairs closer than a cutoff.

    Args:
        graph: With edges of any cutoff, which are used if they suffice.
        cutoff: Radius in Å.
    """
    if graph.cutoff >= cutoff:
        return within(graph, cutoff)
    if not bool(graph.pbc.any()) and graph.num_atoms <= MOST_ATOMS:
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
    """One structure of a batch with the pairs that a neighbor search finds."""
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
