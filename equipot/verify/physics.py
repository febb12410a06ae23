"""Structures that a potential is probed on, and what it predicts for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float64
from torch import Tensor

from equipot.agreement import Difference
from equipot.graph import AtomicGraph, collate
from equipot.models.energy_model import EnergyModel
from equipot.models.prediction import Output, Prediction
from equipot.neighbors import build_graph
from equipot.verify.quantities import given
from equipot.verify.result import Check

TOLERANCE = 1e-9
"""Relative to the largest force: what rounding of 1e-16 grows to in sums and layers."""
SMALLEST_FORCE = 1e-3
"""eV/Å; smaller ones count as zero, as on the sites of a lattice."""
MAX_EDGES = 50_000
"""Of what is predicted together: a few hundred megabytes of a small model."""


@dataclass(frozen=True)
class Predicted:
    """Energy, forces, and stress of one structure, in double precision on the CPU."""

    energy: Float64[Tensor, ""]
    """In eV."""
    forces: Float64[Tensor, "atoms 3"]
    """In eV/Å."""
    stress: Float64[Tensor, "3 3"] | None
    """In eV/Å^3; None without a volume."""


def predict(model: EnergyModel, atoms: Atoms) -> Predicted:
    """Prediction for a structure whose neighbors are searched afresh."""
    return predict_together(model, [atoms])[0]


def predict_together(
    model: EnergyModel, structures: Sequence[Atoms], longer: float = 0.0
) -> list[Predicted]:
    """Predictions for structures in one batch.

    Args:
        model: Who predicts.
        structures: For which.
        longer: Å beyond the cutoff up to which the graph has edges as well.
    """
    graph = graph_of(model, structures, longer)
    outputs: set[Output] = {"energy", "forces"}
    if bool(graph.pbc.all(dim=1).any()):
        outputs.add("stress")
    return _split(model(graph, outputs, create_graph=False), graph)


def predict_in_batches(
    model: EnergyModel, structures: Sequence[Atoms], outputs: set[Output]
) -> Iterator[tuple[AtomicGraph, Prediction]]:
    """Predictions for many structures, as many at a time as memory is sure to hold.

    Yields:
        Each batch with what is predicted for it, in the order of the structures.
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
        model: Whose cutoff is taken.
        structures: To be joined.
        longer: Å beyond the cutoff up to which there are edges as well.
    """
    graphs = [build_graph(atoms, model.cutoff + longer) for atoms in structures]
    return collate(graphs).to(model.device)


def graph_of_clusters(
    model: EnergyModel,
    numbers: Sequence[int],
    positions: Float64[np.ndarray, "clusters atoms 3"],
) -> AtomicGraph:
    """Batch of small clusters of the same elements, by one search for neighbors.

    Args:
        model: Whose cutoff is taken.
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
    """Size that forces have in some structures, in eV/Å, and not less than is felt."""
    sizes = (float(p.forces.abs().max()) for p in predictions if p.forces.numel())
    return max(SMALLEST_FORCE, *sizes, 0.0)


def worst(
    quantities: Sequence[tuple[str, str, float, float]],
    *,
    against: str,
    reason: str,
    tolerance: float = TOLERANCE,
    where: str = "",
) -> Check:
    """One line for several quantities: the one that differs most for its size.

    Args:
        quantities: Name, unit, largest difference, and size of each.
        against: What was compared with.
        reason: Why the tolerance is what it is.
        tolerance: Largest relative difference that passes.
        where: Which elements they are of.
    """
    checks = [
        Check(
            name,
            unit,
            against,
            "float64",
            Difference(d, size, tolerance),
            reason,
            where,
        )
        for name, unit, d, size in quantities
    ]
    # a NaN is the worst of all
    return max(checks, key=lambda c: (not c.passed, c.difference.relative))


def _split(prediction: Prediction, graph: AtomicGraph) -> list[Predicted]:
    sizes = torch.bincount(graph.batch, minlength=graph.num_graphs).tolist()
    forces = given(prediction.forces, "forces").double().cpu().split(sizes)
    energies = prediction.energy.double().cpu()
    stresses: list[Tensor | None] = [None] * graph.num_graphs
    for n in graph.pbc.all(dim=1).nonzero()[:, 0].tolist():
        stresses[n] = given(prediction.stress, "stress")[n].double().cpu()
    return [
        Predicted(e, f, s) for e, f, s in zip(energies, forces, stresses, strict=True)
    ]
