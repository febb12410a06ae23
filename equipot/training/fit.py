"""Second phase of a training run: optimization, with checkpoints and models."""

import copy
import threading
from contextlib import nullcontext

import torch
from torch import nn

from equipot.checkpoint.errors import CheckpointError
from equipot.checkpoint.file import read_weights
from equipot.config.train import TrainConfig
from equipot.models.build import build_potential
from equipot.models.potential import Potential
from equipot.storage.tensor_file import digest
from equipot.system.interrupt import Interruption, watch_signals
from equipot.training.adapters import count_parameters, merged_weights
from equipot.training.bad_batch import write_examples
from equipot.training.build import build_limits, build_trainer, unused_labels
from equipot.training.errors import note_errors_before
from equipot.training.logs import CsvLog, Journal, StaleResult, TensorBoardLog
from equipot.training.prepare import Prepared
from equipot.training.progress import OUT_OF_TIME, TrainingProgress
from equipot.training.progress_bar import ProgressBar
from equipot.training.radial import RadialErrors
from equipot.training.rng import seed_everything
from equipot.training.save import provenance, save_model
from equipot.training.state import State
from equipot.training.time_budget import not_annealed, replan
from equipot.training.trainer import BadBatchError, Trainer
from equipot.verify.golden import golden_outputs


def fit(prepared: Prepared, journal: Journal) -> TrainingProgress:
    """Train from the start or from a checkpoint, until the end or a signal.

    Returns:
        Progress of training; `finished` is None after a signal.

    Raises:
        BadBatchError: If loss or gradient of a batch are not finite; the batch is
            BadBatchError: If loss or gradient of a batch is not finite; the batch is
                written to the run directory.
            ValueError: If the loss needs missing labels or the run cannot be changed as
                configured.
    """
    trainer = _build_trainer(prepared, journal)
    _describe(prepared, journal)
    seed_everything(prepared.config.seed)
    if prepared.state is not None:
        _resume(trainer, prepared, prepared.state, journal)
    elif prepared.config.training.start_from is not None:
        note_errors_before(prepared, journal)
    progress = _optimize(trainer, prepared)
    if progress.finished is None:
        journal.say(
            f"interrupted at step {progress.step}; the state is in "
            f"{prepared.states.paths[0]}; continue with --resume"
        )
        return progress
    journal.say(f"training ends: {progress.finished}")
    if progress.finished == OUT_OF_TIME:
        warning = not_annealed(trainer.schedule, trainer.fractional_epoch)
        if warning is not None:
            journal.warn(warning)
    return progress


def _build_trainer(prepared: Prepared, journal: Journal) -> Trainer:
    files = prepared.files

    def save_state(state: State) -> None:
        record = {
            **state.record,
            "config": prepared.config_tree,
            "data": prepared.dataset.hashes,
            "backend": prepared.model.backend,
            "threads": torch.get_num_threads(),
        }
        prepared.states.save(record, state.tensors)

    def save(model: nn.Module, best: bool, epoch: float) -> None:
        if not isinstance(model, Potential):
            raise TypeError(f"expected a Potential to save, got {type(model).__name__}")
        model = _ordinary(prepared, model)
        extra = provenance(prepared, epoch)
        golden = golden_outputs(model, prepared.samples, prepared.statistics)
        for path in (files.last, files.best)[: 2 if best else 1]:
            save_model(prepared, path, model, extra, golden=golden)

    return build_trainer(
        prepared.config,
        prepared.potential,
        prepared.dataset,
        prepared.statistics,
        save_state=save_state,
        save_model=save,
        observers=[
            StaleResult(files.metrics),
            StaleResult(files.certificate),
            CsvLog(files.table),
            TensorBoardLog(files.tensorboard),
            ProgressBar(journal),
            RadialErrors(prepared.potential, journal),
        ],
    )


def _ordinary(prepared: Prepared, model: Potential) -> Potential:
    """Potential without adapters, which are part of its weights."""
    if prepared.config.training.start_from is None:
        return model
    potential = build_potential(prepared.model, prepared.statistics)
    potential.load_state_dict(merged_weights(model))
    return potential.to(prepared.device).eval()


def _describe(prepared: Prepared, journal: Journal) -> None:
    """Log sizes of data and model, and warnings about them."""
    dataset, statistics = prepared.dataset, prepared.statistics
    tests = ", ".join(f"{name} {len(s)}" for name, s in dataset.test.items())
    parameters, trained = count_parameters(prepared.potential)
    part = f" ({trained} trained)" if trained < parameters else ""
    journal.say(
        f"structures: train {len(dataset.train)}, valid {len(dataset.valid)}, "
        f"test: {tests or 'none'}"
    )
    journal.say(
        f"elements: {', '.join(statistics.element_counts)}; reference energies: "
        f"{statistics.reference_source}"
    )
    journal.say(
        f"{parameters} parameters{part}, {prepared.model.dtype} on {prepared.device}, "
        f"{torch.get_num_threads()} threads"
    )
    for warning in statistics.warnings:
        journal.warn(warning)
    for name in unused_labels(prepared.config.training.loss, statistics):
        journal.warn(
            f"{statistics.label_counts[name]} training structures have labels of "
            f"{name}, which are not used: training.loss.{name}.weight is 0"
        )
    if not dataset.valid:
        journal.warn("there is no validation set: the last weights count as the best")


def _resume(
    trainer: Trainer, prepared: Prepared, state: State, journal: Journal
) -> None:
    """Load a state, restore its best model, and apply new epochs or a new budget."""
    trainer.load_state(state)
    journal.say(f"resuming at step {trainer.progress.step}")
    _restore_best_model(trainer, prepared, journal)
    before = TrainConfig.model_validate(state.record["config"]).training
    message = replan(
        trainer.progress,
        trainer.schedule,
        build_limits(before),
        trainer.limits,
        trainer.fractional_epoch,
    )
    if message is not None:
        journal.say(message)


def _restore_best_model(trainer: Trainer, prepared: Prepared, journal: Journal) -> None:
    """Write the best model of the checkpoint if its file is damaged or different.

    A killed run may have saved a better model after its last checkpoint. It is saved
    again if the run repeats bit for bit, but not with another number of threads, or
    under a time budget.
    """
    epoch, path = trainer.progress.best_epoch, prepared.files.best
    if epoch is None or not trainer.best:
        return
    model = copy.deepcopy(prepared.potential).eval()
    model.load_state_dict(trainer.best)
    model = _ordinary(prepared, model)
    try:
        weights = read_weights(path)
    except (FileNotFoundError, CheckpointError) as error:
        journal.warn(f"{error}; it is rewritten from the checkpoint")
    else:
        if digest(weights) == digest(model.state_dict()):
            return
        journal.say(f"{path} is restored to epoch {epoch:g}")
    save_model(prepared, path, model, provenance(prepared, epoch))


def _optimize(trainer: Trainer, prepared: Prepared) -> TrainingProgress:
    main = threading.current_thread() is threading.main_thread()
    watching = watch_signals() if main else nullcontext(Interruption())
    bad_batch = prepared.files.bad_batch
    try:
        with watching as interruption:
            return trainer.fit(interruption)
    except BadBatchError as error:
        write_examples(bad_batch, error.examples)
        raise BadBatchError(
            f"{error}. Its structures are in {bad_batch}, the last good "
            f"checkpoint is {prepared.states.paths[0]}. Check for wrong labels, atoms "
            "too close, or start a new run with a lower training.optimizer.lr",
            error.examples,
        ) from error
    finally:
        for observer in trainer.observers:
            observer.close()
