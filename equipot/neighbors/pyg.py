"""Graphs from PyTorch Geometric."""

from typing import Any

import torch

from equipot.graph import AtomicGraph, check_edges
from equipot.neighbors.completeness import check_complete


def from_pyg(data: Any, cutoff: float, *, check: bool = True) -> AtomicGraph:
    """Graph from a `torch_geometric` ``Data`` or ``Batch``.

    Args:
        data: Holds ``pos``, ``z``, ``edge_index`` (senders, receivers) and, for
            periodic structures, ``cell``, ``pbc`` and integer ``edge_shift``;
            ``batch`` if it is a batch. Edge vectors are
            ``pos[sender] + edge_shift @ cell - pos[receiver]``.
        cutoff: Radius in Å that its edges were built with.
        check: Whether to search for neighbors once more and to compare. Edges are
            incomplete where a search has a limit on neighbors, as
            ``radius_graph(max_num_neighbors=32)`` has by default.

    Returns:
        The same atoms and edges, edges sorted by receiver.

    Raises:
        IncompleteGraphError: If a pair of atoms within the cutoff is missing.
        ValueError: If a field is missing or has another shape, or edges have no
            reverse, are there twice, or are otherwise none; see
            `equipot.graph.check_edges`.
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
    if pbc is None and (cell is not None or shift is not None):
        raise ValueError(
            "a PyG graph with cell or edge_shift needs pbc, which says along which "
            "lattice vectors it repeats"
        )
    if pbc is not None and bool(pbc.any()) and (cell is None or shift is None):
        raise ValueError("a periodic PyG graph needs cell and edge_shift")
    if cell is None:
        cell = positions.new_zeros(num_graphs, 3, 3)
    if pbc is None:
        pbc = torch.zeros(num_graphs, 3, dtype=torch.bool, device=positions.device)
    if shift is None:
        shift = torch.zeros_like(order)[:, None].expand(-1, 3)
    if not torch.equal(shift, shift.round()):
        raise ValueError(
            "edge_shift must hold whole numbers of lattice vectors, not lengths in Å: "
            "divide by the cell"
        )
    graph = AtomicGraph(
        positions=positions,
        atomic_numbers=data.z.long(),
        cell=cell.reshape(num_graphs, 3, 3).to(positions.dtype),
        pbc=pbc.reshape(num_graphs, 3).bool(),
        batch=batch,
        edge_index=data.edge_index[:, order],
        edge_shift=shift[order].long(),
        cutoff=cutoff,
    )
    if check:
        check_complete(graph)
    else:
        check_edges(graph)
    return graph
