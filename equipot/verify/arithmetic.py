"""Machine-dependent checks: float32 precision, repeatability, neighbor lists."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from equipot.autodiff.derivatives import hessian_vector_product
from equipot.models.build import with_backend
from equipot.models.differentiable import differentiable_forces
from equipot.models.energy_model import EnergyModel
from equipot.models.potential import Potential
from equipot.neighbors import neighbor_list
from equipot.tensor_products.agreement import Difference
from equipot.verify.physics import (
    MIN_FORCE_SCALE,
    Predicted,
    Quantity,
    described,
    graph_of,
    largest_force,
    predict,
    size_of_forces,
    worst,
)
from equipot.verify.quantities import given
from equipot.verify.result import Check

SINGLE_TOLERANCE = 1e-4
"""Relative to the largest force, in float32."""
SINGLE_REASON = (
    "relative to the largest or the typical force, over 1 Å per atom, per volume, or "
    "to the largest product; rounding of 1e-7, amplified by up to 1e3 in layers"
)
TOTAL = "total energy"
TOTAL_TOLERANCE = 5e-6
TOTAL_FACTOR = 10.0
TOTAL_REASON = (
    "relative to the typical force over 1 Å per atom; ten times the rounding of the "
    "network, since reference energies are added in float64"
)
REPETITION_TOLERANCE = 1e-12
"""Relative tolerance on GPUs, where the order of sums may vary."""
BRUTE_FORCE_ATOMS = 300
"""Maximum number of atoms for brute force; a cell list is used above."""


def precision_checks(
    potential: Potential, structures: Sequence[Atoms], *, typical: float = 0.0
) -> list[Check]:
    """Compare energy, forces, stress and curvature in float32 and float64.

    Args:
        potential: Potential in any precision.
        structures: Structures with atoms.
        typical: Typical force in eV/Å of atoms off lattice sites.

    Returns:
        One check per quantity of the network, and one for the total energy with
        reference energies and repulsion, which are added in float64.
    """
    network = potential.network_alone()
    found: dict[str, list[Quantity]] = {}
    for atoms in structures:
        single, double = (
            _measured(with_backend(network, potential.backend, dtype), atoms)
            for dtype in (torch.float32, torch.float64)
        )
        size = size_of_forces(double[0], atoms, typical)
        where = described(atoms)
        for quantity in _rounding(single, double, size, atoms):
            found.setdefault(quantity.name, []).append(quantity)
        whole = [
            predict(with_backend(potential, potential.backend, dtype), atoms)
            for dtype in (torch.float32, torch.float64)
        ]
        off = _largest(whole[0].energy - whole[1].energy)
        total = size * len(atoms)
        found.setdefault(TOTAL, []).append(Quantity(TOTAL, "eV", off, total, where))
    checks = []
    for name, quantities in found.items():
        tolerance = SINGLE_TOLERANCE
        if name == TOTAL:
            own = [q.difference / q.size for q in found["energy"]]
            tolerance = max(TOTAL_TOLERANCE, TOTAL_FACTOR * max(own))
        checks.append(
            worst(
                quantities,
                name="float32 precision",
                tolerance=tolerance,
                reason=SINGLE_REASON if name != TOTAL else TOTAL_REASON,
                dtype="float32",
            )
        )
    return checks


def _measured(model: Potential, atoms: Atoms) -> tuple[Predicted, Tensor]:
    """Predictions, and the Hessian-vector product with a random direction."""
    forces, positions = differentiable_forces(model, graph_of(model, [atoms]))
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(positions.shape, generator=generator).double()
    product = hessian_vector_product(
        forces, positions, (direction / direction.norm()).to(positions.device)
    )
    return predict(model, atoms), product.double().cpu()


def _rounding(
    single: tuple[Predicted, Tensor],
    double: tuple[Predicted, Tensor],
    size: float,
    atoms: Atoms,
) -> Iterator[Quantity]:
    (a, first), (b, second) = single, double
    where = described(atoms)
    total = size * len(atoms)
    yield Quantity("energy", "eV", _largest(a.energy - b.energy), total, where)
    yield Quantity("forces", "eV/Å", _largest(a.forces - b.forces), size, where)
    if a.stress is not None and b.stress is not None:
        density = len(atoms) / float(atoms.get_volume())
        off = _largest(a.stress - b.stress)
        yield Quantity("stress", "eV/Å^3", off, size * density, where)
    off, largest = _largest(first - second), max(size, _largest(second))
    yield Quantity("Hessian-vector", "eV/Å^2", off, largest, where)


def repetition_check(model: EnergyModel, structures: Sequence[Atoms]) -> Check:
    """Compare two equal calls bit for bit; to rounding on GPUs."""
    first, second = ([predict(model, atoms) for atoms in structures] for _ in range(2))
    size = largest_force(first)
    quantities = []
    for a, b in zip(first, second, strict=True):
        energy = max(1.0, abs(float(a.energy)))
        quantities += [
            ("energy", "eV", float((a.energy - b.energy).abs()), energy),
            ("forces", "eV/Å", _largest(a.forces - b.forces), size),
        ]
    return _repeated(model, quantities, "repeatability")


def many_calls_check(model: EnergyModel, element: int, calls: int) -> Check:
    """Repeat a cheap call, to find errors that occur once in hundreds of calls.

    Args:
        model: Model in float64.
        element: Atomic number of the two atoms.
        calls: Number of calls.
    """
    pair = Atoms([element] * 2, [[0, 0, 0], [0.1, 0.2, 0.6 * model.cutoff]])
    graph = graph_of(model, [pair])
    first = model(graph, {"energy", "forces"}, create_graph=False)
    forces = given(first.forces, "forces")
    size = max(MIN_FORCE_SCALE, _largest(forces))
    energy = max(1.0, _largest(first.energy))
    worst_energy, worst_force = 0.0, 0.0
    for _ in range(calls):
        again = model(graph, {"energy", "forces"}, create_graph=False)
        energies = _largest(again.energy - first.energy)
        off = _largest(given(again.forces, "forces") - forces)
        worst_energy = energies if not energies <= worst_energy else worst_energy
        worst_force = off if not off <= worst_force else worst_force
    quantities = [
        ("energy", "eV", worst_energy, energy),
        ("forces", "eV/Å", worst_force, size),
    ]
    return _repeated(model, quantities, "repeatability of many calls")


def _repeated(
    model: EnergyModel,
    quantities: Sequence[tuple[str, str, float, float]],
    name: str,
) -> Check:
    exact = model.device.type == "cpu"
    return worst(
        quantities,
        name=name,
        tolerance=0.0 if exact else REPETITION_TOLERANCE,
        reason="bit for bit" if exact else "relative to its size; sums in any order",
    )


def neighbor_check(model: EnergyModel, structures: Sequence[Atoms]) -> Check:
    """Compare two neighbor-list algorithms.

    The first is vesin if supported; the second is a cell list or brute force.
    """
    wrong = 0
    found = 0
    for atoms in structures:
        used, ours = _edges(atoms, model.cutoff, "auto")
        small = len(atoms) <= BRUTE_FORCE_ATOMS or used == "cells"
        _, others = _edges(atoms, model.cutoff, "brute_force" if small else "cells")
        wrong += len(ours ^ others)
        found += len(others)
    return Check(
        quantity="neighbor list",
        unit="pairs",
        name="neighbor-list cross-check",
        dtype="float64",
        difference=Difference(float(wrong), float(max(found, 1)), 0.0),
        reason="pairs found by only one of the two searches",
    )


def _edges(
    atoms: Atoms, cutoff: float, backend: str
) -> tuple[str, set[tuple[int, ...]]]:
    """Name of the search, and its pairs."""
    found = neighbor_list(
        atoms.positions, atoms.cell.array, atoms.pbc, cutoff, backend=backend
    )
    rows = np.column_stack([found.index.T, found.shift])
    return found.backend, set(map(tuple, rows.tolist()))


def _largest(*values: Tensor) -> float:
    return float(torch.cat([v.flatten() for v in values]).abs().max())
