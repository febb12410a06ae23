"""Predictions of a potential for test structures, and scales of their errors."""

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
"""Relative to the largest force: rounding errors of 1e-16, amplified in layers."""
SMALLEST_FORCE = 1e-3
"""eV/Å; smaller ones count as zero, as on the sites of a lattice."""
ROUNDING = 1e-12
"""Smallest tolerance of any comparison of energies."""
MAX_EDGES = 50_000
"""Edges in one batch: a few hundred megabytes for a small model."""


class Quantity(NamedTuple):
    """One number of a check."""

    name: str
    unit: str
    difference: float
    size: float
    """Scale of the relative difference, in its unit."""
    where: str = ""
    """Location, reported for a failure."""


@dataclass(frozen=True)
class Predicted:
    """Energy, forces, and stress of one structure, in double precision on the CPU."""

    energy: Float64[Tensor, ""]
    """In eV."""
    forces: Float64[Tensor, "atoms 3"]
    """In eV/Å."""
    stress: Float64[Tensor, "3 3"] | None
    """In eV/Å^3; None without a volume, and for models without stress."""
    energies: Float64[Tensor, " atoms"]
    """Of each atom, in eV."""
    features: Float64[Tensor, "atoms channels"] | None = None
    """None for models without features."""


def predict(model: EnergyModel, atoms: Atoms) -> Predicted:
    """Prediction for one structure, with a new neighbor list."""
    return predict_together(model, [atoms])[0]


def predict_together(
    model: EnergyModel, structures: Sequence[Atoms], longer: float = 0.0
) -> list[Predicted]:
    """Predictions for structures in one batch.

    Args:
        model: Any energy model.
        structures: In one batch.
        longer: Excess radius of the graph beyond the cutoff in Å.
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
        model: Defines the cutoff.
        structures: In one batch.
        longer: Excess radius beyond the cutoff in Å.
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
        model: Defines the cutoff.
        numbers: Elements of the atoms of every cluster.
        positions: In Å.
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
    """Largest force in eV/Å, at least `SMALLEST_FORCE`."""
    sizes = (float(p.forces.abs().max()) for p in predictions if p.forces.numel())
    return max(SMALLEST_FORCE, *sizes, 0.0)


def size_of_forces(prediction: Predicted, atoms: Atoms, typical: float) -> float:
    """Scale in eV/Å of force errors in one structure.

    The forces of a perfect crystal vanish by symmetry, as does its stress in
    equilibrium; rounding errors do not, as they are those of the summed terms.

    Args:
        prediction: Of the structure.
        atoms: The structure.
        typical: Force in eV/Å between atoms that are not on sites of a lattice.

    Returns:
        The largest of: forces, stress per density over 1 Å, and the typical force.
    """
    sizes = [SMALLEST_FORCE, typical]
    if prediction.forces.numel():
        sizes.append(float(prediction.forces.abs().max()))
    if prediction.stress is not None:
        per_atom = float(prediction.stress.abs().max()) * atoms.get_volume()
        sizes.append(float(per_atom) / len(atoms))
    return max((size for size in sizes if np.isfinite(size)), default=SMALLEST_FORCE)


def size_of_energy(energies: Float64[Tensor, " atoms"], size: float) -> float:
    """Scale in eV of energy errors: force over 1 Å, per atom.

    It is bounded from below by the float64 resolution of all-electron energies: the
    rounding error of the sum over atoms is `ROUNDING` relative to it.

    Args:
        energies: Of the atoms.
        size: Of forces in eV/Å.
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
    """One check for several quantities: the largest relative difference.

    Args:
        quantities: Name, unit, largest difference, and size of each.
        name: Of the check.
        reason: Why the tolerance is what it is.
        tolerance: Largest relative difference that passes.
        where: Elements concerned.
        dtype: Precision of the computation.
    """
    checks = []
    for quantity in quantities:
        q = Quantity(*quantity)
        difference = Difference(q.difference, q.size, tolerance)
        place = where or ("" if difference.passed else q.where)
        checks.append(Check(q.name, q.unit, name, dtype, difference, reason, place))
    # a NaN is the worst of all
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
