"""Sparse Hessian of large structures, in linear time and memory."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.sparse import bsr_array
from torch import Tensor

from equipot.graph.atomic_graph import AtomicGraph, partial_graph
from equipot.hessians.receptive import Neighborhoods, Surroundings
from equipot.models.differentiable import constant_weights
from equipot.models.energy_model import EnergyModel

DEFAULT_EDGES_AT_ONCE = 20_000
"""Number of edges of the subgraphs computed together: enough to outweigh the overhead
of operations, few enough to fit into the cache."""


def sparse_hessian(
    model: EnergyModel,
    graph: AtomicGraph,
    *,
    atoms: Sequence[int] | None = None,
    num_layers: int | None = None,
    edges_at_once: int = DEFAULT_EDGES_AT_ONCE,
) -> bsr_array:
    r"""Exact sparse Hessian of a large structure, without blocks that are zero.

    With L layers, the block of atoms more than 2 L edges apart is zero. The rows of
    atom j are determined by the atomic energies within L edges of j, which depend only
    on atoms within 2 L edges and on the incoming edges of those within 2 L - 1. This
    subgraph is extracted, its forces are computed once and differentiated for the three
    directions of j. Subgraphs of many atoms j form one disconnected graph, so that a
    product gives one row for each of them.

    **Cost.** Let the forces of a structure of M edges cost :math:`c M` and each
    vector-Jacobian product about the same. Atoms have d neighbors, and n(h) atoms
    within h edges. The rows of one atom cost :math:`4 c \, d \, n(2 L - 1)`,
    independent of the size of the structure: silicon with a cutoff of 4 Å has n = 17,
    82, 239, 525 for h = 1 to 4, so two layers cost 4 evaluations of forces on 239
    atoms. Other exact methods are more expensive:

    - The dense loop costs :math:`3 c \, d N` per atom.
    - Simultaneous products for atoms of the whole structure whose rows do not overlap
      (coloring): balls of n(2 L) atoms fill at most 0.74 of space, so at least
      :math:`3 n(2 L) / 0.74` products over all edges are needed,
      :math:`3 c \, d \, n(2 L) / 0.74` per atom; in silicon 2.2 times as much for L = 2
      and 4.9 times for L = 1.
    - Subgraphs of m neighboring atoms share the evaluation of forces, which saves less
      than a quarter, but each of the 3 m products runs over the halo of all m atoms,
      which is too large already for two nearest neighbors in silicon.
    - Differentiation of each atomic energy by all atoms that it depends on:
      :math:`3 n(L)` products over the edges within L - 1, 4.4 times as much for L = 2.

    Args:
        model: Model in any mode; its weights are not changed.
        graph: One structure, on the device of the model.
        atoms: Atoms whose rows are computed, in this order; all by default.
        num_layers: L; by default that of the model. A smaller number gives a wrong
            Hessian.
        edges_at_once: Number of edges of the subgraphs computed together. Memory is
            proportional to it; results do not depend on it.

    Returns:
        Hessian of shape ``(3 rows, 3 atoms)`` in 3x3 blocks, in eV/Å^2, with ascending
        columns in each row; not symmetrized.

    Raises:
        ValueError: If the graph is a batch, an atom does not exist, or a number is not
            positive.
    """
    layers = model.num_layers if num_layers is None else num_layers
    rows = _checked_rows(graph, atoms, layers, edges_at_once)
    neighborhoods = Neighborhoods(graph, model.cutoff)
    data, indices, counts = [], [], [np.zeros(1, dtype=np.int64)]
    with constant_weights(model):
        for around in _batches(neighborhoods, rows, 2 * layers, edges_at_once):
            data.append(_blocks(model, around, layers).cpu().numpy())
            indices.append(around.atoms)
            counts.append(np.diff(around.row_pointers))
    shape = (3 * len(rows), 3 * graph.num_atoms)
    if not data:
        return bsr_array(shape, blocksize=(3, 3), dtype=np.float64)
    return bsr_array(
        (
            np.concatenate(data),
            np.concatenate(indices),
            np.concatenate(counts).cumsum(),
        ),
        shape=shape,
    )


def _blocks(
    model: EnergyModel, around: Surroundings, layers: int
) -> Float[Tensor, "nodes 3 3"]:
    """Hessian block of the center and each node of its copy."""
    positions = around.graph.positions.requires_grad_()
    with torch.enable_grad():
        graph = partial_graph(replace(around.graph, positions=positions))
        energies = model(graph, {"energy"}, create_graph=True).energies
        (gradient,) = torch.autograd.grad(
            energies[around.within(layers)].sum(),
            [positions],
            create_graph=True,
            materialize_grads=True,
        )
    centers = torch.from_numpy(around.centers).to(positions.device)
    rows: list[Tensor] = []
    for axis in range(3):
        seed = torch.zeros_like(positions, requires_grad=False)
        seed[centers, axis] = 1.0
        rows += torch.autograd.grad(
            gradient, [positions], seed, retain_graph=axis < 2, materialize_grads=True
        )
    return torch.stack(rows, dim=1)


def _batches(
    neighborhoods: Neighborhoods,
    rows: Int64[np.ndarray, " rows"],
    reach: int,
    edges_at_once: int,
) -> Iterator[Surroundings]:
    """Neighborhoods of all rows, with batch sizes estimated from the previous batch."""
    start, width = 0, 1
    while start < len(rows):
        around = neighborhoods.around(rows[start : start + width], reach)
        yield around
        start += width
        edges = max(around.graph.num_edges, 1)
        width = max(1, min(edges_at_once * len(around.centers) // edges, 4 * width))


def _checked_rows(
    graph: AtomicGraph, atoms: Sequence[int] | None, layers: int, edges_at_once: int
) -> Int64[np.ndarray, " rows"]:
    if graph.num_graphs != 1:
        raise ValueError(
            f"expected one structure, got a batch of {graph.num_graphs}; "
            "use equipot.hessians.hessians for a batch"
        )
    for name, value in {"num_layers": layers, "edges_at_once": edges_at_once}.items():
        if value < 1:
            raise ValueError(f"{name} must be positive, got {value}")
    rows = np.arange(graph.num_atoms) if atoms is None else np.array(atoms, np.int64)
    if outside := rows[(rows < 0) | (rows >= graph.num_atoms)].tolist():
        raise ValueError(
            f"atom indices must be from 0 to {graph.num_atoms - 1}, got {outside}"
        )
    return rows
