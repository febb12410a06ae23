"""Hessian-vector products of a model, without the full Hessian."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.autodiff.derivatives import hessian_vector_product
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.differentiable import differentiable_forces
from equipot.models.energy_model import EnergyModel


@runtime_checkable
class HessianProducts(Protocol):
    """Model with products of its Hessian that need no differentiable forces."""

    def hessian_products(
        self, graph: AtomicGraph, directions: Float[Tensor, "directions atoms 3"]
    ) -> Float[Tensor, "directions atoms 3"] | None:
        """Products with displacements in Å, in eV/Å; None where it has none."""


def hessian_vector_products(
    potential: EnergyModel,
    graph: AtomicGraph,
    directions: Float[Tensor, "directions atoms 3"],
) -> Float[Tensor, "directions atoms 3"]:
    """Products of the Hessian of a model with displacements.

    Forces are computed once and differentiated for each direction, at about the cost of
    one evaluation of forces. Structures of a batch do not mix. Products of a model with
    `HessianProducts` are its own.

    Args:
        potential: `Potential` in any mode, or another model.
        graph: Graph on the device of the potential.
        directions: Displacements in Å.

    Returns:
        First-order changes of the gradient of the energy in eV/Å.
    """
    if isinstance(potential, HessianProducts):
        products = potential.hessian_products(graph, directions)
        if products is not None:
            return products.to(graph.positions.dtype)
    forces, positions = differentiable_forces(potential, graph)
    rows = [
        hessian_vector_product(forces, positions, direction) for direction in directions
    ]
    return torch.stack(rows) if rows else torch.zeros_like(directions)


def hessians_by_products(
    model: HessianProducts, graph: AtomicGraph
) -> tuple[Tensor, ...] | None:
    """Hessian of every structure of a batch from products with unit displacements.

    Structures do not mix: one product gives a column of each of them.

    Args:
        model: Model.
        graph: Any number of structures.

    Returns:
        For each structure, shape ``(atoms, 3, atoms, 3)`` in eV/Å^2, with the type of
        ``graph.positions``; or None where the model has no products.
    """
    sizes = torch.bincount(graph.batch, minlength=graph.num_graphs).tolist()
    products = model.hessian_products(graph, _unit_displacements(sizes))
    if products is None:
        return None
    parts = products.to(graph.positions.dtype).split(sizes, dim=1)
    return tuple(
        part[: 3 * size].reshape(size, 3, size, 3)
        for size, part in zip(sizes, parts, strict=True)
    )


def _unit_displacements(
    sizes: Sequence[int],
) -> Float[Tensor, "directions atoms 3"]:
    """The n-th is that of coordinate n of every structure, if there is one."""
    out = torch.zeros(3 * max(sizes, default=0), sum(sizes), 3, dtype=torch.float64)
    for start, size in zip([0, *accumulate(sizes)], sizes, strict=False):
        identity = torch.eye(3 * size, dtype=torch.float64)
        out[: 3 * size, start : start + size] = identity.view(3 * size, size, 3)
    return out
