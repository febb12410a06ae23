"""Batched Hessians of many structures."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from equipot.autodiff.derivatives import hessian_blocks
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.differentiable import differentiable_forces
from equipot.models.energy_model import EnergyModel
from equipot.models.hessian_vector import HessianProducts, hessians_by_products

CPU_EDGES_PER_PART = 8_000
"""Number of edges per part on a CPU; more edges need more memory with little gain in
speed."""


def hessians(
    model: EnergyModel, graph: AtomicGraph, *, edges_at_once: int | None = None
) -> list[Tensor]:
    """Hessian of every structure of a batch.

    Structures do not interact, so one vector-Jacobian product gives the k-th row of all
    of them: a batch takes as many products as its largest structure has rows. The
    overhead of a product is shared by all structures, so the gain is large for small
    molecules and small models. Structures are sorted by size and divided into parts, so
    that structures of similar size share products and memory is bounded.

    Args:
        model: Model in any mode; its weights are not changed.
        graph: Any number of structures, on the device of the model.
        edges_at_once: Largest number of edges per part, unless a single structure has
            more; by default `CPU_EDGES_PER_PART` on CPUs and the whole batch elsewhere.

    Returns:
        For each structure, shape ``(atoms, 3, atoms, 3)`` in eV/Å^2, detached; equal to
        `hessian` of that structure up to rounding errors.

    Raises:
        ValueError: If `edges_at_once` is not positive.
    """
    if edges_at_once is None:
        on_cpu = graph.positions.device.type == "cpu"
        edges_at_once = CPU_EDGES_PER_PART if on_cpu else max(graph.num_edges, 1)
    if edges_at_once < 1:
        raise ValueError(f"edges_at_once must be positive, got {edges_at_once}")
    found: dict[int, Tensor] = {}
    for members in _parts(graph, edges_at_once):
        part = _select(graph, members)
        if isinstance(model, HessianProducts):
            products = hessians_by_products(model, part)
            if products is not None:
                found.update(zip(members, products, strict=True))
                continue
        forces, positions = differentiable_forces(model, part)
        sizes = torch.bincount(part.batch, minlength=part.num_graphs).tolist()
        blocks = hessian_blocks(forces, positions, sizes, create_graph=False)
        found.update(zip(members, blocks, strict=True))
    return [found[n] for n in range(graph.num_graphs)]


def _parts(graph: AtomicGraph, edges_at_once: int) -> Iterator[list[int]]:
    """Parts of structures of similar size; indices are ascending."""
    count = graph.num_graphs
    sizes = torch.bincount(graph.batch, minlength=count).tolist()
    edges = torch.bincount(graph.batch[graph.edge_index[1]], minlength=count).tolist()
    part: list[int] = []
    held = 0
    for n in sorted(range(count), key=sizes.__getitem__):
        if part and held + edges[n] > edges_at_once:
            yield sorted(part)
            part, held = [], 0
        part.append(n)
        held += edges[n]
    if part:
        yield sorted(part)


def _select(graph: AtomicGraph, members: list[int]) -> AtomicGraph:
    """Subgraph of some structures of a batch, in ascending order."""
    if len(members) == graph.num_graphs:
        return graph
    device = graph.positions.device
    chosen = torch.tensor(members, device=device)
    place = torch.full((graph.num_graphs,), -1, device=device)
    place[chosen] = torch.arange(len(members), device=device)
    atoms = place[graph.batch] >= 0
    edges = atoms[graph.edge_index[1]]
    return replace(
        graph,
        positions=graph.positions[atoms],
        atomic_numbers=graph.atomic_numbers[atoms],
        cell=graph.cell[chosen],
        pbc=graph.pbc[chosen],
        batch=place[graph.batch[atoms]],
        edge_index=(atoms.cumsum(0) - 1)[graph.edge_index[:, edges]],
        edge_shift=graph.edge_shift[edges],
    )
