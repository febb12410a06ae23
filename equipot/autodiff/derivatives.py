"""Forces, stress and second derivatives of an energy by automatic differentiation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from equipot.autodiff.parallel_rows import for_each_row
from equipot.graph.atomic_graph import AtomicGraph, edge_vectors
from equipot.graph.scatter import scatter_sum


@dataclass(frozen=True)
class Geometry:
    """Edge vectors of a graph as functions of positions and strain."""

    vectors: Float[Tensor, "edges 3"]
    positions: Float[Tensor, "atoms 3"]
    strain: Float[Tensor, "graphs 3 3"] | None


def differentiable_geometry(graph: AtomicGraph, *, strain: bool) -> Geometry:
    r"""Edge vectors that are differentiable by positions and, optionally, by strain.

    The homogeneous strain :math:`\epsilon` is zero and deforms positions and cells:
    :math:`r \to r + r \, (\epsilon + \epsilon^T) / 2`.
    """
    positions = graph.positions
    if not positions.requires_grad:
        positions = positions.detach().requires_grad_()
    vectors = edge_vectors(replace(graph, positions=positions))
    if not strain:
        return Geometry(vectors, positions, None)
    zero = torch.zeros_like(graph.cell).requires_grad_()
    symmetric = (zero + zero.mT) / 2
    per_edge = symmetric[graph.batch[graph.edge_index[1]]]
    deformed = vectors + torch.einsum("ei,eij->ej", vectors, per_edge)
    return Geometry(deformed, positions, zero)


def forces_and_stress(
    energy: Float[Tensor, " graphs"],
    geometry: Geometry,
    graph: AtomicGraph,
    *,
    create_graph: bool,
) -> tuple[Float[Tensor, "atoms 3"], Float[Tensor, "graphs 3 3"] | None]:
    r"""Forces and stress of each structure.

    .. math:: F = -\frac{\partial E}{\partial r}, \qquad
              \sigma = \frac{1}{V} \frac{\partial E}{\partial \epsilon}

    For a slab or a wire only strains within its periodic directions count: the stress
    is :math:`P \sigma P` with the projector P on the span of the periodic lattice
    vectors. It is per volume of the given cell, including vacuum, so V times the stress
    is the derivative of the energy for any amount of vacuum.

    Args:
        energy: Energies in eV, computed from ``geometry.vectors``.
        geometry: Result of `differentiable_geometry`.
        graph: Graph whose cells and periodic directions define the volumes.
        create_graph: Whether the result can be differentiated again.

    Returns:
        forces: Forces in eV/Å.
        stress: Stress in eV/Å^3, positive in tension; NaN without a periodic direction
            or cell volume; None if the geometry has no strain.

    Raises:
        ValueError: If the energy has no graph to differentiate.
    """
    if not energy.requires_grad:
        raise ValueError(
            "the energy has no graph to differentiate: compute it from the vectors of "
            "differentiable_geometry, outside of torch.no_grad and torch.inference_mode"
        )
    inputs = [geometry.positions]
    if geometry.strain is not None:
        inputs.append(geometry.strain)
    gradients = torch.autograd.grad(
        energy.sum(), inputs, create_graph=create_graph, materialize_grads=True
    )
    if geometry.strain is None:
        return -gradients[0], None
    every = torch.arange(graph.num_graphs, device=graph.cell.device)
    return -gradients[0], stress_of_strain(gradients[1], graph, every)


def atomic_stresses(
    energy: Float[Tensor, " graphs"],
    geometry: Geometry,
    graph: AtomicGraph,
    *,
    create_graph: bool,
) -> Float[Tensor, "atoms 3 3"]:
    r"""Stress of each structure as a sum over its atoms.

    .. math:: \sigma_i = \frac{1}{2V} \sum_{e \ni i} \mathrm{sym} \left(
                  r_e \otimes \frac{\partial E}{\partial r_e} \right)

    over the edges e from or to atom i: half of the contribution of an edge is assigned
    to each of its atoms. The partition of the total is not unique; this one is
    symmetric in both atoms and independent of the partition of the energy.

    Args:
        energy: Energies in eV, computed from ``geometry.vectors``; its graph is kept.
        geometry: Result of `differentiable_geometry`.
        graph: Graph whose cells and periodic directions define the volumes.
        create_graph: Whether the result can be differentiated again.

    Returns:
        Atomic stresses in eV/Å^3; their sum over a structure is its stress.
    """
    (by_vector,) = torch.autograd.grad(
        energy.sum(),
        [geometry.vectors],
        retain_graph=True,
        create_graph=create_graph,
        materialize_grads=True,
    )
    virials = geometry.vectors[:, :, None] * by_vector[:, None, :] / 2
    virials = (virials + virials.mT) / 2
    senders, receivers = graph.edge_index
    of_atoms = scatter_sum(virials, senders, graph.num_atoms)
    of_atoms = of_atoms + scatter_sum(virials, receivers, graph.num_atoms)
    return stress_of_strain(of_atoms, graph, graph.batch)


def stress_of_strain(
    by_strain: Float[Tensor, "items 3 3"],
    graph: AtomicGraph,
    structure: Int[Tensor, " items"],
) -> Float[Tensor, "items 3 3"]:
    """Stress from derivatives by strain; each item belongs to one structure."""
    volume = torch.linalg.det(graph.cell).abs()
    defined = (graph.pbc.any(dim=1) & (volume > 0))[structure, None, None]
    projector = periodic_projector(graph.cell, graph.pbc)[structure]
    by_strain = torch.where(
        graph.pbc.all(dim=1)[structure, None, None],
        by_strain,
        projector @ by_strain @ projector,
    )
    # NaN is inserted last: division by NaN would affect the gradients of the others.
    stress = by_strain / torch.where(defined, volume[structure, None, None], 1.0)
    return torch.where(defined, stress, torch.nan)


def periodic_projector(
    cell: Float[Tensor, "graphs 3 3"], pbc: Bool[Tensor, "graphs 3"]
) -> Float[Tensor, "graphs 3 3"]:
    """Projectors on the span of the periodic lattice vectors.

    Args:
        cell: Lattice vectors as rows.
        pbc: Periodic directions; their lattice vectors must be linearly independent.
    """
    periodic = cell.detach() * pbc[:, :, None]
    count = pbc.sum(dim=1)[:, None, None]
    # One vector remains in the sum; of two, one cross product is nonzero.
    along = _outer(periodic.sum(dim=1))
    normal = _outer(
        torch.linalg.cross(periodic, periodic.roll(1, dims=1), dim=2).sum(dim=1)
    )
    identity = torch.eye(3, dtype=cell.dtype, device=cell.device).expand_as(cell)
    projector = torch.where(count == 1, along, torch.zeros_like(cell))
    projector = torch.where(count == 2, identity - normal, projector)
    return torch.where(count == 3, identity, projector)


def _outer(vectors: Float[Tensor, "graphs 3"]) -> Float[Tensor, "graphs 3 3"]:
    """Projectors on vectors; zero for zero vectors."""
    units = torch.nn.functional.normalize(vectors, dim=1)
    return units[:, :, None] * units[:, None, :]


def hessian_vector_product(
    forces: Float[Tensor, "atoms 3"],
    positions: Float[Tensor, "atoms 3"],
    direction: Float[Tensor, "atoms 3"],
) -> Float[Tensor, "atoms 3"]:
    r"""Hessian-vector product.

    .. math:: (H v)_i = \sum_j \frac{\partial^2 E}{\partial r_i \partial r_j} v_j
                      = - \frac{\partial}{\partial r_i} \sum_j F_j v_j

    Several directions can share the graph of the forces: call this once for each.

    Args:
        forces: Forces in eV/Å, differentiable by `positions`.
        positions: Positions in Å.
        direction: v, in any unit.

    Returns:
        H v, in eV/Å^2 times the unit of `direction`; detached.

    Raises:
        ValueError: If the forces have no graph to differentiate.
    """
    _require_graph(forces)
    (gradient,) = torch.autograd.grad(
        forces,
        [positions],
        direction.to(forces.dtype),
        retain_graph=True,
        materialize_grads=True,
    )
    return -gradient


def vector_jacobian_products(
    outputs: Float[Tensor, "*shape"],
    inputs: Float[Tensor, "atoms 3"],
    vectors: Float[Tensor, "vectors *shape"],
) -> Float[Tensor, "vectors atoms 3"]:
    r"""Vector-Jacobian products :math:`v^T \, \partial y / \partial x`, batched.

    Args:
        outputs: y; its graph is retained.
        inputs: x.
        vectors: Vectors v; a single one is evaluated without vmap.

    Returns:
        The products, detached.

    Raises:
        ValueError: If the outputs have no graph to differentiate.
    """
    _require_graph(outputs)
    if len(vectors) == 1:
        (product,) = torch.autograd.grad(
            outputs, [inputs], vectors[0], retain_graph=True, materialize_grads=True
        )
        return product[None]
    (products,) = torch.autograd.grad(
        outputs,
        [inputs],
        vectors,
        retain_graph=True,
        materialize_grads=True,
        is_grads_batched=True,
    )
    return products


def hessian_blocks(
    forces: Float[Tensor, "atoms 3"],
    positions: Float[Tensor, "atoms 3"],
    sizes: Sequence[int],
    *,
    create_graph: bool,
) -> tuple[Tensor, ...]:
    """Hessians of all structures of a batch, row k of all structures at once.

    Args:
        forces: Forces in eV/Å, differentiable by `positions`.
        positions: Positions in Å, sorted by structure.
        sizes: Number of atoms of each structure.
        create_graph: Whether the result can be differentiated again.

    Returns:
        For each structure, shape ``(atoms, 3, atoms, 3)`` in eV/Å^2.

    Raises:
        ValueError: If the forces have no graph to differentiate.
    """
    _require_graph(forces)
    first = torch.tensor([0, *sizes]).cumsum(0)[:-1].tolist()
    count = 3 * max(sizes, default=0)
    products: list[Tensor] = [forces] * count

    def differentiate(k: int) -> None:
        seed = torch.zeros_like(forces, requires_grad=False).view(-1)
        seed[[3 * f + k for f, n in zip(first, sizes, strict=True) if k < 3 * n]] = -1.0
        (products[k],) = torch.autograd.grad(
            forces,
            [positions],
            seed.view_as(forces),
            retain_graph=True,
            create_graph=create_graph,
            materialize_grads=True,
        )

    if create_graph or forces.device.type != "cpu":
        for k in range(count):
            differentiate(k)
    else:
        for_each_row(differentiate, count)
    return tuple(
        torch.stack([products[k][f : f + size] for k in range(3 * size)]).view(
            size, 3, size, 3
        )
        if size
        else forces.new_zeros(0, 3, 0, 3)
        for f, size in zip(first, sizes, strict=True)
    )


def _require_graph(forces: Tensor) -> None:
    if not forces.requires_grad:
        raise ValueError(
            "the forces have no graph to differentiate: compute them from positions "
            "that require gradients, with create_graph=True"
        )
