"""A training run in a directory: prepare, fit, finish."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from equipot.checkpoint.verification import ModelReport
from equipot.config.train import TrainConfig
from equipot.models.build import check_model
from equipot.storage.run_folder import lock_run_directory
from equipot.system.settings import compute_settings
from equipot.training.finish import finish
from equipot.training.fit import fit
from equipot.training.logs import Journal
from equipot.training.prepare import prepare
from equipot.training.progress import TrainingProgress
from equipot.training.run_directory import RunDirectory
from equipot.training.start import read_start, with_architecture_of


@dataclass(frozen=True)
class TrainingResult:
    """Outcome of a training run."""

    directory: RunDirectory
    """Files of the run."""
    progress: TrainingProgress
    """Progress of training; `finished` is None if it was interrupted."""
    errors: dict[str, Any]
    """Errors of the best model by set; empty if training was interrupted."""
    certificate: ModelReport | None = None
    """Verification of the best model; None if it was not verified."""


def run_training(
    config: TrainConfig,
    directory: Path,
    *,
    resume: bool = False,
    console: Console | None = None,
) -> TrainingResult:
    """Train a potential, test it, and verify it.

    Args:
        config: Data, architecture and optimization.
        directory: Run directory; see `RunDirectory` for its files.
        resume: Continue the run in the directory, bit for bit.
        console: Terminal for messages; standard output by default.

    Returns:
        Progress of training, errors of the best model, and its verification report; a
        failed check does not raise.

    Raises:
        ValueError: If the directory, the data or the checkpoint do not match the
            configuration, or a loss is not finite.
    """
    start = read_start(config)
    if start is not None:
        config = with_architecture_of(config, start)
    check_model(config.model)
    files = RunDirectory(directory)
    training = config.training
    with (
        lock_run_directory(directory, resume=resume),
        compute_settings(training.num_threads, training.deterministic),
    ):
        journal = Journal(files.log, console or Console())
        prepared = prepare(config, files, journal, start, resume=resume)
        progress = fit(prepared, journal)
        if progress.finished is None:
            return TrainingResult(files, progress, {})
        errors, certificate = finish(prepared, progress, journal)
        return TrainingResult(files, progress, errors, certificate)
