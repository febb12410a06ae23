"""Predictions for test structures, and scales of their errors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float64
from torch import Tensor

from equipot.graph.atomic_graph import AtomicGraph, collate
from equipot.models.energy_model import EnergyModel
from equipot.models.prediction import Output, Prediction
from equipot.neighbors import build_graph
from equipot.tensor_products.agreement import Difference
from equipot.verify.quantities import given
from equipot.verify.result import Check
from equipot.verify.subject import abilities

TOLERANCE = 1e-9
"""Relative tolerance of forces: rounding of 1e-16, amplified in layers."""
MIN_FORCE_SCALE = 1e-3
"""Forces in eV/Å below which they count as zero, as on lattice sites."""
ROUNDING = 1e-12
"""Minimum relative tolerance of energies."""
MAX_EDGES = 50_000
"""Maximum number of edges in one batch: a few hundred MB for a small model."""


class Quantity(NamedTuple):
    """One compared quantity of a check."""

    name: str
    unit: str
    difference: float
    size: float
    """Scale of the relative difference, in the unit of the quantity."""
    where: str = ""
    """Location, reported for a failure."""


@dataclass(frozen=True)
class Predicted:
    """Prediction for one structure, in float64 on the CPU."""

    energy: Float64[Tensor, ""]
    """Energy in eV."""
    forces: Float64[Tensor, "atoms 3"]
    """Forces in eV/Å."""
    stress: Float64[Tensor, "3 3"] | None
    """Stress in eV/Å^3; None without a volume or for models without stress."""
    energies: Float64[Tensor, " atoms"]
    """Atomic energies in eV."""
    features: Float64[Tensor, "atoms channels"] | None = None
    """Features of the last layer; None for models without features."""


def predict(model: EnergyModel, atoms: Atoms) -> Predicted:
    """Prediction for one structure, with a new neighbor list."""
    return predict_together(model, [atoms])[0]


def predict_together(
    model: EnergyModel, structures: Sequence[Atoms], longer: float = 0.0
) -> list[Predicted]:
    """Predictions for structures in one batch.

    Args:
        model: Energy model.
        structures: Structures of the batch.
        longer: Additional search radius beyond the cutoff in Å.
    """
    graph = graph_of(model, structures, longer)
    outputs: set[Output] = {"energy", "forces"}
    if bool(graph.pbc.all(dim=1).any()) and "stress" in abilities(model):
        outputs.add("stress")
    if "features" in abilities(model):
        outputs.add("features")
    return _split(model(graph, outputs, create_graph=False), graph)


def predict_in_batches(
    model: EnergyModel, structures: Sequence[Atoms], outputs: set[Output]
) -> Iterator[tuple[AtomicGraph, Prediction]]:
    """Predictions for many structures, in batches of limited memory.

    Yields:
        Each batch and its prediction, in the order of the structures.
    """
    graphs: list[AtomicGraph] = []
    for n, atoms in enumerate(structures, start=1):
        graphs.append(build_graph(atoms, model.cutoff))
        edges = sum(graph.num_edges for graph in graphs)
        if edges * (1 + 1 / len(graphs)) > MAX_EDGES or n == len(structures):
            batch = collate(graphs).to(model.device)
            yield batch, model(batch, outputs, create_graph=False)
            graphs = []


def graph_of(
    model: EnergyModel, structures: Sequence[Atoms], longer: float = 0.0
) -> AtomicGraph:
    """Batch of structures on the device of the model.

    Args:
        model: Model, for its cutoff.
        structures: Structures of the batch.
        longer: Additional search radius beyond the cutoff in Å.
    """
    graphs = [build_graph(atoms, model.cutoff + longer) for atoms in structures]
    return collate(graphs).to(model.device)


def graph_of_clusters(
    model: EnergyModel,
    numbers: Sequence[int],
    positions: Float64[np.ndarray, "clusters atoms 3"],
) -> AtomicGraph:
    """Batch of small clusters of the same elements, by one neighbor search.

    Args:
        model: Model, for its cutoff.
        numbers: Atomic numbers, the same for all clusters.
        positions: Positions in Å.
    """
    count, size = positions.shape[:2]
    flat = positions.reshape(-1, 3)
    step = float(np.ptp(flat[:, 0])) + 2 * model.cutoff
    apart = positions + np.array([1.0, 0, 0]) * (step * np.arange(count))[:, None, None]
    together = Atoms(list(numbers) * count, apart.reshape(-1, 3))
    graph = build_graph(together, model.cutoff)
    return replace(
        graph,
        positions=torch.from_numpy(flat),
        cell=graph.cell.expand(count, 3, 3).clone(),
        pbc=graph.pbc.expand(count, 3).clone(),
        batch=torch.arange(count).repeat_interleave(size),
    ).to(model.device)


def largest_force(predictions: Sequence[Predicted]) -> float:
    """Largest force in eV/Å, at least `MIN_FORCE_SCALE`."""
    sizes = (float(p.forces.abs().max()) for p in predictions if p.forces.numel())
    return max(MIN_FORCE_SCALE, *sizes, 0.0)


def size_of_forces(prediction: Predicted, atoms: Atoms, typical: float) -> float:
    """Scale in eV/Å of force errors in one structure.

    The forces of a perfect crystal vanish by symmetry, as does its stress in
    equilibrium; the rounding errors of the summed terms do not.

    Args:
        prediction: Prediction for the structure.
        atoms: Structure.
        typical: Typical force in eV/Å of atoms off lattice sites.

    Returns:
        Maximum of the forces, the stress per density over 1 Å, and the typical force.
    """
    sizes = [MIN_FORCE_SCALE, typical]
    if prediction.forces.numel():
        sizes.append(float(prediction.forces.abs().max()))
    if prediction.stress is not None:
        per_atom = float(prediction.stress.abs().max()) * atoms.get_volume()
        sizes.append(float(per_atom) / len(atoms))
    return max((size for size in sizes if np.isfinite(size)), default=MIN_FORCE_SCALE)


def size_of_energy(energies: Float64[Tensor, " atoms"], size: float) -> float:
    """Scale in eV of energy errors: force over 1 Å, per atom.

    It is bounded from below by the float64 resolution of all-electron energies: the
    rounding error of the sum over atoms is `ROUNDING` relative to it.

    Args:
        energies: Atomic energies.
        size: Scale of forces in eV/Å.
    """
    count = len(energies)
    rounding = (8 + count**0.5) * torch.finfo(torch.float64).eps
    largest = float(energies.abs().sum()) if count else 0.0
    return max(size * count, rounding * largest / ROUNDING)


def worst(
    quantities: Sequence[tuple[str, str, float, float] | Quantity],
    *,
    name: str,
    reason: str,
    tolerance: float = TOLERANCE,
    where: str = "",
    dtype: str = "float64",
) -> Check:
    """Combine several quantities to one check, with the largest relative difference.

    Args:
        quantities: Name, unit, largest difference, and size of each.
        name: Name of the check.
        reason: Justification of the tolerance.
        tolerance: Maximum relative difference.
        where: Elements concerned.
        dtype: Precision of the computation.
    """
    checks = []
    for quantity in quantities:
        q = Quantity(*quantity)
        difference = Difference(q.difference, q.size, tolerance)
        place = where or ("" if difference.passed else q.where)
        checks.append(Check(q.name, q.unit, name, dtype, difference, reason, place))
    # NaN ranks as the largest difference
    return max(checks, key=lambda c: (not c.passed, c.difference.relative))


def described(atoms: Atoms) -> str:
    """Formula and periodic directions, such as ``Si8 TTF``."""
    formula = atoms.get_chemical_formula()
    return f"{formula} {''.join('FT'[int(p)] for p in atoms.pbc)}"


def _split(prediction: Prediction, graph: AtomicGraph) -> list[Predicted]:
    sizes = torch.bincount(graph.batch, minlength=graph.num_graphs).tolist()
    forces = given(prediction.forces, "forces").double().cpu().split(sizes)
    each = prediction.energies.detach().double().cpu().split(sizes)
    energies = prediction.energy.double().cpu()
    stresses: list[Tensor | None] = [None] * graph.num_graphs
    if prediction.stress is not None:
        for n in graph.pbc.all(dim=1).nonzero()[:, 0].tolist():
            stresses[n] = prediction.stress[n].double().cpu()
    features: Sequence[Tensor | None] = [None] * graph.num_graphs
    if prediction.features is not None:
        features = prediction.features.double().cpu().split(sizes)
    return [
        Predicted(*one)
        for one in zip(energies, forces, stresses, each, features, strict=True)
    ]
