"""Hessian-vector products of a model, without the full Hessian."""

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.autodiff.derivatives import hessian_vector_product
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.differentiable import differentiable_forces
from equipot.models.energy_model import EnergyModel


def hessian_vector_products(
    potential: EnergyModel,
    graph: AtomicGraph,
    directions: Float[Tensor, "directions atoms 3"],
) -> Float[Tensor, "directions atoms 3"]:
    """Products of the Hessian of a model with displacements.

    Forces are computed once and differentiated for each direction, at about the cost of
    one evaluation of forces. Structures of a batch do not mix.

    Args:
        potential: `Potential` in any mode, or another model.
        graph: Graph on the device of the potential.
        directions: Displacements in Å.

    Returns:
        First-order changes of the gradient of the energy in eV/Å.
    """
    forces, positions = differentiable_forces(potential, graph)
    products = [
        hessian_vector_product(forces, positions, direction) for direction in directions
    ]
    return torch.stack(products) if products else torch.zeros_like(directions)
