"""Second derivatives of the energy of a crystal by strain and displacements."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.autodiff.derivatives import vector_jacobian_products
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.differentiable import constant_weights
from equipot.models.energy_model import EnergyModel

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Cartesian indices of the Voigt components xx, yy, zz, yz, xz, xy."""


@dataclass(frozen=True)
class StrainDerivatives:
    r"""First and second derivatives of the energy :math:`E(u, e)` at zero.

    A strain deforms space by :math:`1 + \epsilon`, and atoms are then displaced by u,

    .. math:: r_i \to r_i (1 + \epsilon) + u_i, \qquad
              \mathrm{cell} \to \mathrm{cell} \, (1 + \epsilon), \qquad
              \epsilon = \epsilon^T,

    with the Voigt vector :math:`e = (\epsilon_{xx}, \epsilon_{yy}, \epsilon_{zz},
    2 \epsilon_{yz}, 2 \epsilon_{xz}, 2 \epsilon_{xy})`.
    """

    strain_strain: Float[Tensor, "6 6"]
    r""":math:`\partial^2 E / \partial e_a \partial e_b` in eV, for atoms that follow
    the strain."""
    strain_displacement: Float[Tensor, "atoms 3 6"]
    r""":math:`\partial^2 E / \partial u_i \partial e_a` in eV/Å: minus the derivative
    of the Cartesian forces with respect to strain."""
    hessian: Float[Tensor, "atoms 3 atoms 3"]
    r""":math:`\partial^2 E / \partial u_i \partial u_j` in eV/Å^2."""
    forces: Float[Tensor, "atoms 3"]
    """Forces in eV/Å."""
    stress: Float[Tensor, "3 3"]
    """Stress in eV/Å^3, positive in tension."""
    volume: float
    """Volume in Å^3."""


def strain_derivatives(model: EnergyModel, graph: AtomicGraph) -> StrainDerivatives:
    """Differentiate the energy of a crystal twice by strain and displacements.

    This takes one vector-Jacobian product of the gradient for each of the 3 N + 6
    variables. Results are not symmetrized.

    Args:
        model: Model in any mode; its weights are not changed. Its energy must depend
            differentiably on ``graph.cell``.
        graph: One 3D-periodic structure.

    Raises:
        ValueError: If the graph is a batch or has no volume.
    """
    _check_crystal(graph)
    u = torch.zeros_like(graph.positions).requires_grad_()
    e = torch.zeros(6, dtype=u.dtype, device=u.device).requires_grad_()
    deformation = torch.eye(3).to(u) + symmetric_strain(e)
    deformed = replace(
        graph,
        positions=graph.positions.detach() @ deformation + u,
        cell=graph.cell.detach() @ deformation,
    )
    with constant_weights(model), torch.enable_grad():
        energy = model(deformed, {"energy"}, create_graph=True).energy
        by_u, by_e = torch.autograd.grad(
            energy.sum(), (u, e), create_graph=True, materialize_grads=True
        )
    count = graph.num_atoms
    hessian = [
        vector_jacobian_products(by_u, u, unit.view(1, count, 3))
        for unit in torch.eye(3 * count).to(u)
    ]
    mixed, strain = [], []
    for unit in torch.eye(6).to(u):
        to_u, to_e = torch.autograd.grad(
            by_e, (u, e), unit, retain_graph=True, materialize_grads=True
        )
        mixed.append(to_u)
        strain.append(to_e)
    volume = float(torch.linalg.det(graph.cell[0]).abs())
    return StrainDerivatives(
        strain_strain=torch.stack(strain),
        strain_displacement=torch.stack(mixed, dim=-1),
        hessian=torch.cat(hessian).view(count, 3, count, 3),
        forces=-by_u.detach(),
        stress=symmetric_from_voigt(by_e.detach()) / volume,
        volume=volume,
    )


def symmetric_strain(e: Float[Tensor, " 6"]) -> Float[Tensor, "3 3"]:
    """Strain tensor of a Voigt vector with engineering shears."""
    xx, yy, zz, yz, xz, xy = e
    rows = [xx, xy / 2, xz / 2, xy / 2, yy, yz / 2, xz / 2, yz / 2, zz]
    return torch.stack(rows).view(3, 3)


def symmetric_from_voigt(s: Float[Tensor, " 6"]) -> Float[Tensor, "3 3"]:
    """Stress tensor of a Voigt vector, without factors of two."""
    xx, yy, zz, yz, xz, xy = s
    return torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz]).view(3, 3)


def _check_crystal(graph: AtomicGraph) -> None:
    if graph.num_graphs != 1:
        raise ValueError(f"expected one structure, got a batch of {graph.num_graphs}")
    if not bool(graph.pbc.all()) or float(torch.linalg.det(graph.cell[0]).abs()) == 0:
        raise ValueError(
            "strain derivatives need a volume: expected three periodic directions, got "
            f"pbc={graph.pbc[0].tolist()}"
        )
