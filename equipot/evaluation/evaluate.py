"""Predictions for labeled structures, with errors."""

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
"""Largest number of edges per batch: large enough for full utilization of the cores."""

MAX_STRUCTURES: Final = 512
"""Largest number of structures per batch, so that progress is reported regularly."""

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
        potential: Potential, set to evaluation mode; it determines device and
            precision. For a committee, the mean and the spread of the members are
            evaluated.
        examples: Structures with graphs of the cutoff of the potential; labels may be
            NaN.
        reference_energies: Energy in eV by atomic number, subtracted from energies so
            that their spread does not reflect compositions.
        max_edges: Largest number of edges per batch; a larger structure is a batch of
            its own.
        on_progress: Called after each batch with the number of completed structures.

    Returns:
        Predictions and labels, in the order of `examples`.

    Raises:
        ValueError: If there are no structures, an element is not supported by the
            potential, or a prediction is not finite.
    """
    if not examples:
        raise ValueError("no structures to evaluate: the data files are empty")
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
        raise ValueError("forces of a committee need the energy among the outputs")
    return Spread(len(found.members), _numpy(found.energy_spread), _numpy(forces))


def _joined(parts: Sequence[Spread]) -> Spread | None:
    """Concatenated spread of all batches; None for a single potential."""
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
    """Raise for predictions that are not finite."""
    bad = ~prediction.energy.isfinite()
    if prediction.forces is not None:
        bad[graph.batch[~prediction.forces.isfinite().all(dim=1)]] = True
    if bad.any():
        raise ValueError(
            f"the prediction for {batch[int(bad.nonzero()[0])].source} is not finite: "
            "check it for coinciding atoms, or the training for divergence"
        )
    if prediction.stress is not None:
        missing = prediction.stress.isnan() & ~labels.stress.isnan()
        bad = missing.flatten(1).any(dim=1)
    if bad.any():
        raise ValueError(
            f"{batch[int(bad.nonzero()[0])].source} has a stress label but no volume: "
            "set three periodic directions, or remove the label"
        )


def _double(values: torch.Tensor) -> torch.Tensor:
    return values.detach().cpu().double()


def _numpy(values: torch.Tensor) -> Float[np.ndarray, "*shape"]:
    return _double(values).numpy()
