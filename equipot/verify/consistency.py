r"""Forces, stress and Hessian-vector products by finite differences.

Fourth-order central differences along a direction u,

.. math:: f'(0) \approx \frac{8 (f(h) - f(-h)) - (f(2h) - f(-2h))}{12 h}

compare forces and stress with energies, and Hessian-vector products with forces, all of
one potential. Agreement with another backend is not needed for this and does not help.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from equipot.graph.atomic_graph import AtomicGraph, collate
from equipot.models.energy_model import EnergyModel
from equipot.tensor_products.agreement import difference
from equipot.verify.physics import MAX_EDGES
from equipot.verify.quantities import UNITS, Probe, evaluate, given, smallest_scales
from equipot.verify.result import Check

DIFFERENCES = "finite differences"
"""Part of the names of these checks."""
TOLERANCE = 1e-5
REASON = (
    "central differences over 1e-4 Å of energies and 1e-5 Å of forces; errors of "
    "truncation, rounding, and pairs that cross the cutoff are below 1e-6"
)
ENERGY_STEP = 1e-4
"""Å, or strain. Rounding of 1e5 eV contributes 1e-7 eV/Å."""
FORCE_STEP = 1e-5
"""Å. Shorter, as third derivatives of the energy jump where a pair enters the cutoff:
the error of such a pair is proportional to the step."""
POINTS = (-2.0, -1.0, 1.0, 2.0)
"""Steps at which a function is evaluated along a direction."""
Pair = tuple[Tensor, Tensor]
"""A derivative of the potential, and its finite-difference approximation."""
Comparison = Callable[[EnergyModel, Probe, Tensor], Pair]


def consistency_checks(
    potential: EnergyModel, probes: Sequence[Probe], unit: float
) -> list[Check]:
    """Compare forces, stress and Hessian-vector products with finite differences.

    Args:
        potential: In float64.
        probes: Structures and directions.
        unit: Smallest force in eV/Å, or energy in eV, that counts.
    """
    values = evaluate(potential, probes)
    floors = smallest_scales(unit, probes)
    # analytic models need not provide a stress
    periodic = [p for p in probes if p.periodic] if values["stress"] else []

    def pairs(compare: Comparison, name: str, of: Sequence[Probe]) -> list[Pair]:
        return [
            compare(potential, probe, value)
            for probe, value in zip(of, values[name], strict=True)
        ]

    found = {
        "forces": pairs(_work, "forces", probes),
        "stress": pairs(_strain_work, "stress", periodic),
        "Hessian-vector": pairs(_curvature, "Hessian-vector", probes),
    }
    return [
        Check(
            quantity=quantity,
            unit=UNITS[quantity],
            name=f"{quantity.removesuffix('-vector')} by {DIFFERENCES}",
            dtype="float64",
            difference=difference(compared, TOLERANCE, floor=floors[quantity]),
            reason=REASON,
        )
        for quantity, compared in found.items()
        if compared
    ]


def consistency_of_each(
    potential: EnergyModel, probes: Sequence[Probe], unit: float
) -> list[Check]:
    """The same for each structure by itself, and the worst of each quantity.

    Forces of one structure do not hide errors of another in this way.

    Args:
        potential: In float64.
        probes: Where to evaluate it.
        unit: Force in eV/Å, or energy in eV, that each structure is judged by at least.
    """
    found: dict[str, list[Check]] = {}
    for probe in probes:
        values = potential(probe.graph, {"energy"}, create_graph=False).energies
        # what is lost of energies as large as those of all electrons
        lost = 4 * torch.finfo(torch.float64).eps * float(values.detach().abs().sum())
        floor = max(unit, lost / ENERGY_STEP / TOLERANCE)
        for check in consistency_checks(potential, [probe], floor):
            found.setdefault(check.quantity, []).append(check)
    # a NaN is the worst of all
    return [
        max(checks, key=lambda c: (not c.passed, c.difference.relative))
        for checks in found.values()
    ]


def _work(potential: EnergyModel, probe: Probe, forces: Tensor) -> Pair:
    """Work of the forces per unit of displacement, and the loss of energy."""
    work = (probe.directions * forces).sum((1, 2))
    moves = _steps(probe.directions, ENERGY_STEP)
    energies = [
        potential(graph, {"energy"}, create_graph=False).energy
        for graph in _moved(probe.graph, moves)
    ]
    return work, -_slopes(torch.cat(energies), ENERGY_STEP)


def _strain_work(potential: EnergyModel, probe: Probe, stress: Tensor) -> Pair:
    """Work of the stress per volume and unit of strain, and the gain of energy."""
    generator = torch.Generator().manual_seed(0)
    strain = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    strain = ((strain + strain.mT) / 2).to(stress.device)
    volume = torch.linalg.det(probe.graph.cell[0]).abs()
    energies = [
        potential(graph, {"energy"}, create_graph=False).energy
        for graph in _strained(probe.graph, _steps(strain[None], ENERGY_STEP))
    ]
    slope = _slopes(torch.cat(energies), ENERGY_STEP)[0]
    return (stress[0] * strain).sum(), slope / volume


def _curvature(potential: EnergyModel, probe: Probe, products: Tensor) -> Pair:
    """Products with the Hessian, and the loss of force along their directions."""
    moves = _steps(probe.directions, FORCE_STEP)
    forces = [
        given(potential(graph, {"forces"}, create_graph=False).forces, "forces")
        for graph in _moved(probe.graph, moves)
    ]
    return products, -_slopes(torch.cat(forces).view(moves.shape), FORCE_STEP)


def _steps(
    directions: Float64[Tensor, "directions rows 3"], step: float
) -> Float64[Tensor, "points rows 3"]:
    """Each direction at `POINTS`, one after the other."""
    points = torch.tensor(POINTS, dtype=torch.float64, device=directions.device)
    return (step * points[:, None, None] * directions[:, None]).flatten(0, 1)


def _slopes(
    values: Float64[Tensor, "points *shape"], step: float
) -> Float64[Tensor, "directions *shape"]:
    """Derivatives along each direction, from values at `POINTS`."""
    far_before, before, after, far_after = values.unflatten(
        0, (-1, len(POINTS))
    ).unbind(1)
    return (8 * (after - before) - (far_after - far_before)) / (12 * step)


def _moved(
    graph: AtomicGraph, moves: Float64[Tensor, "points atoms 3"]
) -> Iterator[AtomicGraph]:
    """Copies of a structure after its atoms were moved, in batches."""
    for some in moves.split(_together(graph)):
        copies = collate([graph] * len(some))
        yield replace(copies, positions=copies.positions + some.flatten(0, 1))


def _strained(
    graph: AtomicGraph, strains: Float64[Tensor, "points 3 3"]
) -> Iterator[AtomicGraph]:
    """Copies of a structure after it was strained, in batches."""
    for some in strains.split(_together(graph)):
        copies = collate([graph] * len(some))
        yield replace(
            copies,
            positions=copies.positions + (graph.positions @ some).flatten(0, 1),
            cell=copies.cell + copies.cell @ some,
        )


def _together(graph: AtomicGraph) -> int:
    """Copies of a structure that are evaluated in one batch."""
    return max(1, MAX_EDGES // max(graph.num_edges, 1))
