r"""Whether derivatives of a potential are those of its own energy.

Fourth-order central differences along a direction u,

.. math:: f'(0) \approx \frac{8 (f(h) - f(-h)) - (f(2h) - f(-2h))}{12 h}

compare forces and stress with energies, and Hessian-vector products with forces, all of
one potential. Agreement with another backend is not needed for this and does not help.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from equipot.agreement import difference
from equipot.graph import AtomicGraph
from equipot.models.energy_model import EnergyModel
from equipot.verify.quantities import UNITS, Probe, evaluate, given, smallest_scales
from equipot.verify.result import Check

TOLERANCE = 1e-5
REASON = (
    "over 1e-4 Å of energies and 1e-5 Å of forces, where truncation, rounding, and "
    "pairs that cross the cutoff stay below 1e-6"
)
ENERGY_STEP = 1e-4
"""Å, or strain. Rounding of 1e5 eV contributes 1e-7 eV/Å."""
FORCE_STEP = 1e-5
"""Å. Shorter, as third derivatives of the energy jump where a pair enters the cutoff:
the error of such a pair is proportional to the step."""
Pair = tuple[Tensor, Tensor]
"""A derivative as the potential gives it, and by differences."""
Comparison = Callable[[EnergyModel, Probe, Tensor], Pair]


def consistency_checks(
    potential: EnergyModel, probes: Sequence[Probe], unit: float
) -> list[Check]:
    """Compare forces, stress and Hessian-vector products with differences.

    Args:
        potential: In float64, as differences need it.
        probes: Where to evaluate it.
        unit: Smallest force in eV/Å, or energy in eV, that counts.
    """
    values = evaluate(potential, probes)
    floors = smallest_scales(unit, probes)
    periodic = [probe for probe in probes if probe.periodic]

    def pairs(compare: Comparison, name: str, of: Sequence[Probe]) -> list[Pair]:
        return [
            compare(potential, probe, value)
            for probe, value in zip(of, values[name], strict=True)
        ]

    found = {
        "forces": (pairs(_work, "forces", probes), "differences of its energy"),
        "stress": (
            pairs(_strain_work, "stress", periodic),
            "differences of its energy",
        ),
        "Hessian-vector": (
            pairs(_curvature, "Hessian-vector", probes),
            "differences of its forces",
        ),
    }
    return [
        Check(
            quantity=name,
            unit=UNITS[name],
            against=against,
            dtype="float64",
            difference=difference(compared, TOLERANCE, floor=floors[name]),
            reason=REASON,
        )
        for name, (compared, against) in found.items()
        if compared
    ]


def _work(potential: EnergyModel, probe: Probe, forces: Tensor) -> Pair:
    """Work of the forces per unit of displacement, and the loss of energy."""

    def slope(u: Tensor) -> Tensor:
        return _slope(
            lambda h: _energy(potential, _moved(probe.graph, h * u)), ENERGY_STEP
        )

    work = (probe.directions * forces).sum((1, 2))
    return work, -torch.stack([slope(u) for u in probe.directions])


def _strain_work(potential: EnergyModel, probe: Probe, stress: Tensor) -> Pair:
    """Work of the stress per volume and unit of strain, and the gain of energy."""
    generator = torch.Generator().manual_seed(0)
    strain = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    strain = ((strain + strain.mT) / 2).to(stress.device)
    volume = torch.linalg.det(probe.graph.cell[0]).abs()
    slope = _slope(
        lambda h: _energy(potential, _strained(probe.graph, h * strain)), ENERGY_STEP
    )
    return (stress[0] * strain).sum(), slope / volume


def _curvature(potential: EnergyModel, probe: Probe, products: Tensor) -> Pair:
    """Products with the Hessian, and the loss of force along their directions."""

    def slope(u: Tensor) -> Tensor:
        return _slope(
            lambda h: _forces(potential, _moved(probe.graph, h * u)), FORCE_STEP
        )

    return products, -torch.stack([slope(u) for u in probe.directions])


def _slope(function: Callable[[float], Tensor], step: float) -> Tensor:
    near = function(step) - function(-step)
    far = function(2 * step) - function(-2 * step)
    return (8 * near - far) / (12 * step)


def _energy(potential: EnergyModel, graph: AtomicGraph) -> Float64[Tensor, ""]:
    return potential(graph, {"energy"}, create_graph=False).energy.sum()


def _forces(potential: EnergyModel, graph: AtomicGraph) -> Float64[Tensor, "atoms 3"]:
    return given(potential(graph, {"forces"}, create_graph=False).forces, "forces")


def _moved(
    graph: AtomicGraph, displacements: Float64[Tensor, "atoms 3"]
) -> AtomicGraph:
    return replace(graph, positions=graph.positions + displacements)


def _strained(graph: AtomicGraph, strain: Float64[Tensor, "3 3"]) -> AtomicGraph:
    return replace(
        graph,
        positions=graph.positions + graph.positions @ strain,
        cell=graph.cell + graph.cell @ strain,
    )
