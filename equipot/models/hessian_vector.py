"""Hessian-vector products of a potential: second derivatives without a Hessian."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.derivatives import hessian_vector_product
from equipot.graph import AtomicGraph
from equipot.models.potential import Potential


def hessian_vector_products(
    potential: Potential,
    graph: AtomicGraph,
    directions: Float[Tensor, "directions atoms 3"],
) -> Float[Tensor, "directions atoms 3"]:
    """Products of the Hessian of a potential with displacements of its atoms.

    Forces are computed once and differentiated for each direction, at about the cost
    of a second evaluation of forces. Structures of a batch do not mix.

    Args:
        potential: In any mode.
        graph: On the device of the potential.
        directions: Displacements in Å.

    Returns:
        Changes of the gradient of the energy, to first order, in eV/Å.
    """
    positions = graph.positions.detach().requires_grad_()
    prediction = potential(
        replace(graph, positions=positions), {"energy", "forces"}, create_graph=True
    )
    products = [
        hessian_vector_product(prediction.forces, positions, direction)
        for direction in directions
    ]
    return torch.stack(products) if products else torch.zeros_like(directions)
