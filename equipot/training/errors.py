"""Errors of a potential on the validation and test sets of a run."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from equipot.data.batching import evaluation_batches
from equipot.data.labels import Example
from equipot.evaluation.metrics import ErrorAccumulator
from equipot.storage.atomic_file import write_json
from equipot.storage.nesting import load_json
from equipot.system.terminal import Fitted
from equipot.training.logs import Journal
from equipot.training.prepare import Prepared
from equipot.training.step import evaluate, labeled_outputs, make_batch
from equipot.training.summary import error_table


def errors_by_set(prepared: Prepared, model: nn.Module) -> dict[str, Any]:
    """Errors on the validation set, ``valid``, and on all test sets.

    Args:
        prepared: The run.
        model: Potential to evaluate.
    """
    sets = {"valid": prepared.dataset.valid, **prepared.dataset.test}
    return {
        name: _errors(prepared, model, examples)
        for name, examples in sets.items()
        if examples
    }


def note_errors_before(prepared: Prepared, journal: Journal) -> None:
    """Evaluate the potential that training starts from, before the first step.

    Beside the errors of the end they show what was gained on the new structures, and
    what was forgotten on those of a test set of the old ones.
    """
    model = prepared.potential
    training = model.training
    errors = errors_by_set(prepared, model.eval())
    model.train(training)
    journal.show(Fitted(error_table(errors, "Errors before training")))
    write_json(prepared.files.errors_before, errors)


def read_errors_before(prepared: Prepared) -> dict[str, Any]:
    """What `note_errors_before` wrote when the run started."""
    errors: dict[str, Any] = load_json(
        prepared.files.errors_before.read_text(encoding="utf-8")
    )
    return errors


def _errors(
    prepared: Prepared, model: nn.Module, examples: Sequence[Example]
) -> dict[str, Any]:
    training = prepared.config.training
    batches = evaluation_batches(
        [example.graph.num_edges for example in examples],
        training.valid_batch_size,
        training.max_edges,
    )
    _, errors = evaluate(
        model,
        (
            make_batch([examples[n] for n in batch]).to(prepared.device)
            for batch in batches
        ),
        labeled_outputs(examples),
        ErrorAccumulator(prepared.statistics.reference_energies),
    )
    return errors
