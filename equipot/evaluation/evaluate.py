"""Predict over a data set and compare with its labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from ase.data import chemical_symbols
from jaxtyping import Float

from equipot.data.batching import evaluation_batches
from equipot.data.elements import check_elements
from equipot.data.labels import Example, Labels, collate_examples
from equipot.data.pairs import pair_distances
from equipot.evaluation.hessians import hessian_errors
from equipot.evaluation.metrics import ErrorAccumulator
from equipot.evaluation.results import Compared, Evaluation, Spread, file_of
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.committee import Committee, CommitteePrediction
from equipot.models.potential import Potential
from equipot.models.prediction import Output, Prediction

MAX_EDGES: Final = 100_000
"""Edges evaluated at once: enough to keep the cores busy, and small in memory."""

MAX_STRUCTURES: Final = 512
"""Structures evaluated at once; bounds progress reports where edges are few."""

OUTPUTS: Final[set[Output]] = {"energy", "forces", "stress"}


def evaluate(
    potential: Potential | Committee,
    examples: Sequence[Example],
    *,
    reference_energies: Mapping[int, float] | None = None,
    max_edges: int = MAX_EDGES,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Predict energies, forces, stresses and Hessians of labeled structures.

    Args:
        potential: Put into evaluation mode; it decides device and precision. Of a
            committee the mean is evaluated, and how far its members are apart.
        examples: Structures with graphs of the potential's cutoff; labels may be NaN.
        reference_energies: Energy in eV per atomic number that energies are shown
            relative to, so that their spread is not that of the compositions.
        max_edges: Most edges in one batch; a larger structure is a batch of its own.
        on_progress: Called with the number of structures done after each batch.

    Returns:
        Predictions beside labels, in the order of `examples`.

    Raises:
        ValueError: If there is no structure, if one holds an element that the potential
            does not know, or if a prediction is not finite.
    """
    if not examples:
        raise ValueError("there is no structure to evaluate: the data files are empty")
    check_elements(
        potential.elements,
        ((e.source, e.graph.atomic_numbers.tolist()) for e in examples),
    )
    potential.eval()
    by_type = ErrorAccumulator(reference_energies)
    by_file = ErrorAccumulator(reference_energies)
    predictions: list[Prediction] = []
    spreads: list[Spread] = []
    done = 0
    num_edges = [example.graph.num_edges for example in examples]
    for indices in evaluation_batches(num_edges, MAX_STRUCTURES, max_edges):
        batch = [examples[n] for n in indices]
        graph, labels = collate_examples(batch)
        found = potential(graph.to(potential.device), OUTPUTS)
        if isinstance(found, CommitteePrediction):
            spreads.append(_spread(found))
        prediction = _on_host(found)
        _check_finite(prediction, graph, labels, batch)
        by_type.update(prediction, graph, labels, [e.config_type for e in batch])
        by_file.update(prediction, graph, labels, [file_of(e.source) for e in batch])
        predictions.append(prediction)
        done += len(batch)
        if on_progress is not None:
            on_progress(done)
    metrics = _with_files(by_type.compute(), by_file.compute())
    hessians = hessian_errors(potential, examples)
    evaluation = _assemble(
        examples, predictions, reference_energies or {}, metrics, hessians
    )
    return replace(evaluation, spread=_joined(spreads))


def _spread(found: CommitteePrediction) -> Spread:
    forces = found.forces_spread
    if forces is None:
        raise ValueError("forces of a committee are evaluated with its energy")
    return Spread(len(found.members), _numpy(found.energy_spread), _numpy(forces))


def _joined(parts: Sequence[Spread]) -> Spread | None:
    """Spread over all batches; None for a single potential."""
    if not parts:
        return None
    return Spread(
        parts[0].members,
        np.concatenate([part.energy for part in parts]),
        np.concatenate([part.forces for part in parts]),
    )


def _assemble(
    examples: Sequence[Example],
    predictions: Sequence[Prediction],
    reference_energies: Mapping[int, float],
    metrics: dict[str, Any],
    hessians: dict[str, dict[str, Any]],
) -> Evaluation:
    graph, labels = collate_examples(examples)
    numbers = graph.atomic_numbers.numpy().astype(np.int64)
    structure = graph.batch.numpy()
    per_element = np.zeros(len(chemical_symbols))
    for number, energy in reference_energies.items():
        per_element[number] = energy
    return Evaluation(
        source=tuple(example.source for example in examples),
        config_type=tuple(example.config_type for example in examples),
        structure=structure,
        atomic_numbers=numbers,
        positions=_numpy(graph.positions),
        cell=_numpy(graph.cell),
        pbc=graph.pbc.numpy(),
        energy=_compared(labels.energy, [p.energy for p in predictions]),
        forces=_compared(labels.forces, [p.forces for p in predictions]),
        stress=_compared(labels.stress, [p.stress for p in predictions]),
        baseline=np.bincount(
            structure, weights=per_element[numbers], minlength=len(examples)
        ),
        closest=tuple(pair_distances([example.graph]) for example in examples),
        metrics=metrics,
        hessians=hessians,
    )


def _compared(
    labels: torch.Tensor, predictions: Sequence[torch.Tensor | None]
) -> Compared:
    present = [p for p in predictions if p is not None]
    return Compared(_numpy(labels), _numpy(torch.cat(present)))


def _with_files(by_type: dict[str, Any], by_file: Mapping[str, Any]) -> dict[str, Any]:
    for name, errors in by_type.items():
        errors["per_file"] = by_file[name]["per_config_type"]
    return by_type


def _on_host(prediction: Prediction) -> Prediction:
    return Prediction(
        energy=_double(prediction.energy),
        energies=_double(prediction.energies),
        forces=None if prediction.forces is None else _double(prediction.forces),
        stress=None if prediction.stress is None else _double(prediction.stress),
    )


def _check_finite(
    prediction: Prediction,
    graph: AtomicGraph,
    labels: Labels,
    batch: Sequence[Example],
) -> None:
    """Refuse a prediction that is not a number: an error of NaN explains nothing."""
    bad = ~prediction.energy.isfinite()
    if prediction.forces is not None:
        bad[graph.batch[~prediction.forces.isfinite().all(dim=1)]] = True
    if bad.any():
        raise ValueError(
            f"the prediction for {batch[int(bad.nonzero()[0])].source} is not finite: "
            "look for atoms on top of each other there, or for a fit that diverged"
        )
    if prediction.stress is not None:
        missing = prediction.stress.isnan() & ~labels.stress.isnan()
        bad = missing.flatten(1).any(dim=1)
    if bad.any():
        raise ValueError(
            f"{batch[int(bad.nonzero()[0])].source} has a label for the stress but no "
            "volume: give it three periodic directions, or remove the label"
        )


def _double(values: torch.Tensor) -> torch.Tensor:
    return values.detach().cpu().double()


def _numpy(values: torch.Tensor) -> Float[np.ndarray, "*shape"]:
    return _double(values).numpy()
