"""The Hessian of a large structure, block by block, in linear time and memory."""

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

EDGES_AT_ONCE = 20_000
"""Edges of the copies that are differentiated together: enough for the arithmetic to
outweigh the overhead of an operation, few enough to stay near the processor."""


def sparse_hessian(
    model: EnergyModel,
    graph: AtomicGraph,
    *,
    atoms: Sequence[int] | None = None,
    num_layers: int | None = None,
    edges_at_once: int = EDGES_AT_ONCE,
) -> bsr_array:
    r"""Exact Hessian of a large structure; what atoms do not feel is not stored.

    With L layers, atoms more than 2 L edges apart share no energy, and their block of
    the Hessian is zero. The rows of atom j are those of the energies within L edges of
    j, which depend on nothing but the atoms within 2 L edges and the edges that arrive
    at those within 2 L - 1. This sub-graph is cut out, its forces are computed once and
    differentiated for the three directions of j; copies for many atoms j form one
    disconnected graph, so that a product gives one row for each of them.

    **Cost.** Let a force on a whole structure of M edges cost :math:`c M` and each
    vector-Jacobian product about as much. Atoms have d neighbors, and n(h) of them are
    within h edges. An atom takes :math:`4 c \, d \, n(2 L - 1)`, whatever the size of
    the structure: silicon with a cutoff of 4 Å has n = 17, 82, 239, 525 for h = 1 to 4,
    so that two layers take 4 forces on 239 atoms. What else is exact costs more:

    - The dense loop takes :math:`3 c \, d N` for each atom.
    - Seeds at many atoms of the whole structure whose rows do not overlap: balls of
      n(2 L) atoms fill at most 0.74 of space, so that there are at least
      :math:`3 n(2 L) / 0.74` products over all edges, :math:`3 c \, d \, n(2 L) / 0.74`
      for each atom; in silicon 2.2 times as much for L = 2 and 4.9 times for L = 1.
    - Blocks of m neighboring atoms in one sub-graph compute forces once for all, which
      saves less than a quarter, but each of the 3 m products runs over the halo of all
      m atoms: already for two nearest neighbors in silicon, the halo is too large.
    - Energies one by one, each differentiated by all atoms that it depends on:
      :math:`3 n(L)` products over the edges within L - 1, 4.4 times as much for L = 2.

    Args:
        model: In any mode; its weights stay as they are.
        graph: One structure, on the device of the model.
        atoms: Atoms whose rows are computed, in this order; all if left out.
        num_layers: L, if it is not that of the model. Too small a number gives a
            wrong Hessian.
        edges_at_once: Edges of the sub-graphs that are differentiated together. Memory
            is in proportion to it, results do not depend on it.

    Returns:
        Shape ``(3 rows, 3 atoms)`` in blocks of 3 x 3, in eV/Å^2, columns ascending in
        each row. Nothing is averaged or symmetrized.

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
    """Block of the centre and each node of its copy."""
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
    centres = torch.from_numpy(around.centres).to(positions.device)
    rows: list[Tensor] = []
    for axis in range(3):
        seed = torch.zeros_like(positions, requires_grad=False)
        seed[centres, axis] = 1.0
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
    """Surroundings of all rows, each batch as large as the one before suggests."""
    start, width = 0, 1
    while start < len(rows):
        around = neighborhoods.around(rows[start : start + width], reach)
        yield around
        start += width
        edges = max(around.graph.num_edges, 1)
        width = max(1, min(edges_at_once * len(around.centres) // edges, 4 * width))


def _checked_rows(
    graph: AtomicGraph, atoms: Sequence[int] | None, layers: int, edges_at_once: int
) -> Int64[np.ndarray, " rows"]:
    if graph.num_graphs != 1:
        raise ValueError(
            f"expected one structure, got a batch of {graph.num_graphs}; "
            "equipot.hessians.hessians computes those of a batch"
        )
    for name, value in {"num_layers": layers, "edges_at_once": edges_at_once}.items():
        if value < 1:
            raise ValueError(f"{name} must be positive, got {value}")
    rows = np.arange(graph.num_atoms) if atoms is None else np.array(atoms, np.int64)
    if outside := rows[(rows < 0) | (rows >= graph.num_atoms)].tolist():
        raise ValueError(
            f"the structure has the atoms 0 to {graph.num_atoms - 1}, rows were asked "
            f"for {outside}"
        )
    return rows
