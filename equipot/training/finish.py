"""Third phase of a training run: evaluate and verify the best model."""

from typing import Any

from equipot.checkpoint.file import load_potential, read_header
from equipot.checkpoint.verification import ModelReport, verify_model
from equipot.storage.atomic_file import write_json
from equipot.system.terminal import Fitted
from equipot.training.errors import errors_by_set, read_errors_before
from equipot.training.feature_distribution import fit_features
from equipot.training.logs import Journal
from equipot.training.prepare import Prepared
from equipot.training.progress import TrainingProgress
from equipot.training.save import save_model
from equipot.training.summary import error_table


def finish(
    prepared: Prepared, progress: TrainingProgress, journal: Journal
) -> tuple[dict[str, Any], ModelReport | None]:
    """Test and verify the best model.

    Errors of the best model by set, and its verification report unless
    ``training.verify`` is off.
    """
    errors = evaluate_best_model(prepared, progress)
    journal.show(Fitted(error_table(errors)))
    return errors, _certify(prepared, journal)


def evaluate_best_model(
    prepared: Prepared, progress: TrainingProgress
) -> dict[str, Any]:
    """Errors of the best model on the validation set and all test sets.

    Writes them to ``metrics.json`` and, with the history and the learned features of
    the training set, to the model file.
    """
    path, dataset = prepared.files.best, prepared.dataset
    training = prepared.config.training
    model = load_potential(
        path, device=str(prepared.device), backend=prepared.model.backend
    )
    errors = errors_by_set(prepared, model)
    summary = {
        "best_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        "epochs_done": progress.epochs_done,
        "epochs_asked": training.epochs,
        "finished": progress.finished,
        "steps": progress.step,
        "errors": errors,
    }
    if prepared.config.training.start_from is not None:
        summary["errors_before"] = read_errors_before(prepared)
    # Without times, so that equal runs write equal files
    history = [
        {k: v for k, v in row.items() if k != "seconds"} for row in progress.history
    ]
    extra = {
        "provenance": read_header(path)["provenance"],
        "training": {**summary, "history": history},
    }
    features = fit_features(model, dataset.train, dataset.valid, training)
    save_model(prepared, path, model, extra, features=features)
    times = {"seconds": progress.seconds, "history": progress.history}
    write_json(prepared.files.metrics, {**summary, **times})
    return errors


def _certify(prepared: Prepared, journal: Journal) -> ModelReport | None:
    """Verify the best model and write ``verification.json``; the model is unchanged."""
    if not prepared.config.training.verify:
        return None
    certificate = verify_model(
        prepared.files.best,
        backends=[prepared.model.backend],
        device=str(prepared.device),
        level="quick",
    )
    write_json(prepared.files.certificate, certificate.as_dict())
    report = journal.say if certificate.passed else journal.warn
    report(str(certificate))
    return certificate
