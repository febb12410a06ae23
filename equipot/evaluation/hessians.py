"""Evaluation of Hessians on structures with reference Hessians."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from equipot.data.batching import evaluation_batches
from equipot.data.labels import Example, collate_examples
from equipot.evaluation.hessian_metrics import compare_hessians, mean_errors
from equipot.graph.atomic_graph import AtomicGraph
from equipot.hessians import hessians
from equipot.models import Committee, Potential, direct_hessian
from equipot.models.energy_model import EnergyModel

Matrices = list[Float[np.ndarray, "_rows _rows"]]
MAX_STRUCTURES: Final = 32
MAX_EDGES: Final = 20_000
"""Largest number of edges per batch."""


def hessian_errors(
    potential: Potential | Committee, examples: Sequence[Example]
) -> dict[str, dict[str, Any]]:
    """Errors of the Hessians of all structures with reference Hessians.

    Args:
        potential: Potential in evaluation mode.
        examples: Structures; those without a reference Hessian and single atoms are
            skipped.

    Returns:
        For "derivative" (second derivatives of the energy) and, if the potential has a
        head for it, "direct": ``count`` of structures and the fields of
        `equipot.evaluation.hessian_metrics.HessianErrors`. Empty without reference
        Hessians.
    """
    labeled = [
        e for e in examples if e.labels.hessian is not None and e.graph.num_atoms > 1
    ]
    if not labeled:
        return {}
    routes: dict[str, list[Any]] = {"derivative": []}
    if isinstance(potential, Potential) and potential.direct_hessian is not None:
        routes["direct"] = []
    for indices in evaluation_batches(
        [e.graph.num_edges for e in labeled], MAX_STRUCTURES, MAX_EDGES
    ):
        batch = [labeled[n] for n in indices]
        graph = collate_examples(batch)[0].to(potential.device)
        for name, found in routes.items():
            predicted = (
                direct_hessians(potential, graph)
                if name == "direct" and isinstance(potential, Potential)
                else derivative_hessians(potential, graph)
            )
            found += [
                compare_hessians(
                    h,
                    label_of(e),
                    e.graph.positions.numpy(),
                    e.graph.atomic_numbers.numpy(),
                    e.graph.pbc[0].numpy(),
                )
                for h, e in zip(predicted, batch, strict=True)
            ]
    return {
        name: {"count": len(found), **asdict(mean_errors(found))}
        for name, found in routes.items()
    }


def label_of(example: Example) -> Float[np.ndarray, "rows rows"]:
    """Reference Hessian of one structure in eV/Å^2.

    Raises:
        ValueError: If the structure has none.
    """
    if example.labels.hessian is not None:
        (matrix,) = example.labels.hessian.matrices
        if matrix is not None:
            return matrix.numpy()
    raise ValueError(f"{example.source} has no Hessian")


def direct_hessians(potential: Potential, graph: AtomicGraph) -> Matrices:
    """Direct Hessian of every structure in eV/Å^2."""
    blocks = direct_hessian(potential, graph)
    return [m.double().cpu().numpy() for m in blocks.matrices()]


def derivative_hessians(potential: EnergyModel, graph: AtomicGraph) -> Matrices:
    """Second derivatives of the energy of every structure in eV/Å^2."""
    out = []
    for h in hessians(potential, graph):
        matrix = h.flatten(2).flatten(0, 1).double().cpu().numpy()
        out.append((matrix + matrix.T) / 2)
    return out
