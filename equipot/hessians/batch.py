"""Hessians of many structures at once."""

import torch
from torch import Tensor

from equipot.derivatives import hessian_blocks
from equipot.graph import AtomicGraph
from equipot.models.differentiable import differentiable_forces
from equipot.models.energy_model import EnergyModel


def hessians(model: EnergyModel, graph: AtomicGraph) -> list[Tensor]:
    """Hessian of every structure of a batch.

    Structures do not interact, so that one vector-Jacobian product gives the k-th row
    of all of them: the batch takes as many products as its largest structure has rows.
    What a product costs besides arithmetic is shared by all, hence the gain is large
    for small molecules and small models. Structures of similar size belong together.

    Args:
        model: In any mode; its weights stay as they are.
        graph: Any number of structures, on the device of the model.

    Returns:
        For each structure, shape ``(atoms, 3, atoms, 3)`` in eV/Å^2, detached; as
        `hessian` of that structure alone, up to rounding.
    """
    forces, positions = differentiable_forces(model, graph)
    sizes = torch.bincount(graph.batch, minlength=graph.num_graphs).tolist()
    return list(hessian_blocks(forces, positions, sizes, create_graph=False))
