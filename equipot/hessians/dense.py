"""The Hessian of one structure, or some of its rows."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.autodiff.derivatives import vector_jacobian_products
from equipot.autodiff.parallel_rows import for_each_row
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.differentiable import differentiable_forces
from equipot.models.energy_model import EnergyModel

Columns = Literal["auto"] | int
"""Number of Hessian rows that are differentiated at once."""


def hessian(
    model: EnergyModel,
    graph: AtomicGraph,
    *,
    atoms: Sequence[int] | None = None,
    columns: Columns = "auto",
) -> Float[Tensor, "rows 3 atoms 3"]:
    r"""Second derivatives of the energy of one structure, exact up to rounding.

    .. math:: H_{i a, j b} = \frac{\partial^2 E}{\partial r_{ia} \, \partial r_{jb}}

    Forces are computed once; each row is a vector-Jacobian product of them, which costs
    about as much as the forces did. A periodic structure has the sum over all images of
    atom j. Nothing is averaged or symmetrized: how far H is from its transpose, and its
    rows from zero sum, is the rounding error.

    Args:
        model: In any mode; its weights stay as they are.
        graph: One structure, on the device of the model.
        atoms: Atoms i whose rows are computed, each from 0 to ``num_atoms - 1``; all
            if left out. Frozen atoms need none, and phonopy's compact force constants
            are the rows of one primitive cell in a supercell.
        columns: Rows that are differentiated at once. 1 is a loop, on CPUs one in
            each thread: the least memory, and there also the least time. More of them
            share the launches of kernels, which pays on GPUs, and need memory in
            proportion. "auto" is 1 on CPUs, and
            elsewhere as many as fit into half of the free memory.

    Returns:
        In eV/Å^2, in the type of ``graph.positions``; detached.

    Raises:
        ValueError: If the graph is a batch, an atom does not exist, or `columns` is
            neither positive nor "auto".
    """
    rows = _checked_rows(graph, atoms)
    if columns != "auto" and not (isinstance(columns, int) and columns > 0):
        raise ValueError(
            f"columns must be a positive number or 'auto', got {columns!r}"
        )
    occupied = _occupied(graph)
    forces, positions = differentiable_forces(model, graph)
    if columns == "auto":
        columns = _columns_that_fit(graph, _occupied(graph) - occupied, 3 * len(rows))
    count = graph.num_atoms
    out = forces.new_empty(3 * len(rows), count, 3)
    places = torch.tensor(
        [3 * atom + axis for atom in rows for axis in range(3)],
        dtype=torch.long,
        device=forces.device,
    )

    def differentiate(first: int) -> None:
        part = places[first : first + columns]
        seeds = forces.new_zeros(len(part), 3 * count)
        seeds.scatter_(1, part[:, None], -1.0)
        out[first : first + columns] = vector_jacobian_products(
            forces, positions, seeds.view(len(part), count, 3)
        )

    if columns == 1 and forces.device.type == "cpu":
        for_each_row(differentiate, len(places))
    else:
        for first in range(0, len(places), columns):
            differentiate(first)
    return out.view(len(rows), 3, count, 3)


def columns_that_fit(free: int, graph_bytes: int, rows: int) -> int:
    """Rows to differentiate at once on a device with its own memory.

    A product of b rows holds, in the worst case, b times what the graph of the forces
    holds, and as much again in temporary results.

    Args:
        free: Bytes of memory that are left.
        graph_bytes: Bytes that the graph of the forces holds.
        rows: How many there are.
    """
    return max(1, min(rows, free // (4 * max(graph_bytes, 1))))


def _columns_that_fit(graph: AtomicGraph, graph_bytes: int, rows: int) -> int:
    device = graph.positions.device
    if device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    return columns_that_fit(free, graph_bytes, rows)


def _occupied(graph: AtomicGraph) -> int:
    device = graph.positions.device
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def _checked_rows(graph: AtomicGraph, atoms: Sequence[int] | None) -> list[int]:
    if graph.num_graphs != 1:
        raise ValueError(
            f"expected one structure, got a batch of {graph.num_graphs}; "
            "equipot.hessians.hessians computes those of a batch"
        )
    rows = list(range(graph.num_atoms)) if atoms is None else [int(n) for n in atoms]
    if outside := [n for n in rows if not 0 <= n < graph.num_atoms]:
        raise ValueError(
            f"the structure has the atoms 0 to {graph.num_atoms - 1}, rows were asked "
            f"for {outside}"
        )
    return rows
