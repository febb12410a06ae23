"""Dense Hessian of one structure, or some of its rows."""

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
from equipot.models.hessian_vector import HessianProducts

Columns = Literal["auto"] | int
"""Number of Hessian rows that are computed at once."""


def hessian(
    model: EnergyModel,
    graph: AtomicGraph,
    *,
    atoms: Sequence[int] | None = None,
    columns: Columns = "auto",
) -> Float[Tensor, "rows 3 atoms 3"]:
    r"""Hessian of the energy of one structure, exact up to rounding errors.

    .. math:: H_{i a, j b} = \frac{\partial^2 E}{\partial r_{ia} \, \partial r_{jb}}

    Forces are computed once; each row is a vector-Jacobian product of them, at about
    the cost of the forces. For a periodic structure, elements are sums over all images
    of atom j. The result is not symmetrized: its asymmetry and the sums of its rows
    show the rounding errors. Rows of a model with `HessianProducts`, such as a
    `equipot.frozen.FrozenPotential`, are products with unit displacements.

    Args:
        model: Model in any mode; its weights are not changed.
        graph: One structure, on the device of the model.
        atoms: Atoms i whose rows are computed, each from 0 to ``num_atoms - 1``; all by
            default. For example, fixed atoms need no rows, and phonopy's compact force
            constants are the rows of one primitive cell in a supercell.
        columns: Number of rows computed at once. 1 is a loop over rows, on CPUs with
            one row per thread: the lowest memory and, on CPUs, the shortest time. More
            rows share kernel launches, which is faster on GPUs, with proportional
            memory. "auto" is 1 on CPUs, and elsewhere as many as fit into half of the
            free memory.

    Returns:
        Rows of the Hessian in eV/Å^2, with the type of ``graph.positions``; detached.

    Raises:
        ValueError: If the graph is a batch, an atom does not exist, or `columns` is
            neither positive nor "auto".
    """
    rows = _checked_rows(graph, atoms)
    if columns != "auto" and not (isinstance(columns, int) and columns > 0):
        raise ValueError(
            f"columns must be a positive number or 'auto', got {columns!r}"
        )
    count = graph.num_atoms
    places = torch.tensor(
        [3 * atom + axis for atom in rows for axis in range(3)],
        dtype=torch.long,
        device=graph.positions.device,
    )
    if isinstance(model, HessianProducts):
        units = torch.nn.functional.one_hot(places, 3 * count).double()
        products = model.hessian_products(graph, units.view(-1, count, 3))
        if products is not None:
            found = products.to(graph.positions.dtype)
            return found.view(len(rows), 3, count, 3)
    occupied = _occupied(graph)
    forces, positions = differentiable_forces(model, graph)
    if columns == "auto":
        columns = _columns_that_fit(graph, _occupied(graph) - occupied, 3 * len(rows))
    out = forces.new_empty(3 * len(rows), count, 3)

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
    """Number of rows to compute at once on a device with its own memory.

    A batched product of b rows holds at most b times the memory of the graph of the
    forces, and the same again in temporary results.

    Args:
        free: Free memory in bytes.
        graph_bytes: Memory of the graph of the forces in bytes.
        rows: Number of rows.
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
            "use equipot.hessians.hessians for a batch"
        )
    rows = list(range(graph.num_atoms)) if atoms is None else [int(n) for n in atoms]
    if outside := [n for n in rows if not 0 <= n < graph.num_atoms]:
        raise ValueError(
            f"atom indices must be from 0 to {graph.num_atoms - 1}, got {outside}"
        )
    return rows
