"""Contractions of the third derivatives of the energy with two displacements."""

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.autodiff.derivatives import vector_jacobian_products
from equipot.autodiff.parallel_rows import for_each_row
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.differentiable import constant_weights, differentiable_forces
from equipot.models.energy_model import EnergyModel


def third_derivative_products(
    model: EnergyModel,
    graph: AtomicGraph,
    first: Float[Tensor, "atoms 3"],
    second: Float[Tensor, "directions atoms 3"],
) -> Float[Tensor, "directions atoms 3"]:
    r"""Third derivatives of the energy, contracted with two displacements.

    .. math:: t_i = \sum_{jk} \frac{\partial^3 E}{\partial r_i \partial r_j
              \partial r_k} u_j w_k

    The product of the Hessian with u is one differentiable Hessian-vector product; its
    vector-Jacobian product with each w is one more backward pass. The full tensor is
    never formed, and there is no truncation error.

    Args:
        model: Model in any mode; its weights are not changed.
        graph: One structure, on the device of the model.
        first: u, in Å.
        second: Vectors w in Å, which share the product of u.

    Returns:
        Second-order changes of the gradient of the energy in eV/Å, one for each w,
        with the type of ``graph.positions``; detached.
    """
    forces, positions = differentiable_forces(model, graph)
    with constant_weights(model):
        (product,) = torch.autograd.grad(
            forces,
            [positions],
            -first.to(forces.dtype),
            create_graph=True,
            materialize_grads=True,
        )
    out = product.new_zeros(second.shape)
    if not product.requires_grad:  # an energy that is quadratic in the positions
        return out.detach()
    vectors = second.to(product.dtype)

    def differentiate(row: int) -> None:
        out[row] = vector_jacobian_products(product, positions, vectors[row : row + 1])[
            0
        ]

    if forces.device.type == "cpu":
        for_each_row(differentiate, len(vectors))
    else:
        for row in range(len(vectors)):
            differentiate(row)
    return out.detach()
