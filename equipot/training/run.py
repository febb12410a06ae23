"""A training run from configuration to tested model, in a directory that can resume."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from equipot.checkpoint.file import (
    CheckpointError,
    load_potential,
    read_header,
    read_weights,
    resolve_device,
    save_potential,
)
from equipot.checkpoint.verification import ModelReport, verify_model
from equipot.config.load import dump_config
from equipot.config.model import ModelConfig
from equipot.config.train import TrainConfig
from equipot.data.batching import evaluation_batches
from equipot.data.dataset import load_dataset
from equipot.data.labels import Example
from equipot.data.samples import choose_samples
from equipot.data.statistics import compute_statistics
from equipot.domain import FeatureCloud
from equipot.evaluation.metrics import ErrorAccumulator
from equipot.models.build import AUTO, build_potential, check_model
from equipot.models.potential import Potential
from equipot.models.workload import typical_problem
from equipot.storage.atomic_file import write_atomically, write_json
from equipot.storage.rotation import Generations, StateError
from equipot.storage.run_folder import lock_run_directory
from equipot.storage.tensor_file import digest
from equipot.system.interrupt import Interruption, watch_signals
from equipot.system.settings import compute_settings
from equipot.system.terminal import Fitted
from equipot.tensor_products.autotune import choose_backend
from equipot.training.bad_batch import write_examples
from equipot.training.build import build_limits, build_trainer, unused_labels
from equipot.training.feature_cloud import fit_features
from equipot.training.logs import CsvLog, Journal, OldEnd, TensorBoardLog
from equipot.training.position import OUT_OF_TIME, Position
from equipot.training.progress import ProgressBar
from equipot.training.rng import seed_everything
from equipot.training.run_directory import RunDirectory
from equipot.training.same_run import check_same_config, check_same_data
from equipot.training.state import KIND, VERSION, State
from equipot.training.step import evaluate, labeled_outputs, make_batch
from equipot.training.summary import error_table
from equipot.training.time_budget import not_annealed, replan
from equipot.training.trainer import BadBatchError, Trainer
from equipot.verify import check_backend
from equipot.verify.golden import GoldenOutputs, golden_outputs
from equipot.verify.structures import generate_structures


@dataclass(frozen=True)
class TrainingResult:
    """What a run has come to."""

    directory: RunDirectory
    """Where its files are."""
    position: Position
    """Where it stopped; `finished` is None if it was interrupted."""
    errors: dict[str, Any]
    """Errors of the best model by set; empty if it was interrupted."""
    certificate: ModelReport | None = None
    """What a verification of the best model found; None if there was none."""


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
        directory: Of the run; see `RunDirectory` for its files.
        resume: Go on with the run in the directory, bit for bit.
        console: Where to report; standard output by default.

    Returns:
        Where training stopped, the errors of the best model, and its certificate; a
        check that it fails raises nothing.

    Raises:
        ValueError: If the directory, the data or the state do not fit the
            configuration, or a loss is not finite.
    """
    check_model(config.model)
    files = RunDirectory(directory)
    training = config.training
    with (
        lock_run_directory(directory, resume=resume),
        compute_settings(training.num_threads, training.deterministic),
    ):
        journal = Journal(files.log, console or Console())
        return _Run(config, files, journal).go(resume=resume)


class _Run:
    """The parts of a run that its steps share."""

    def __init__(
        self, config: TrainConfig, files: RunDirectory, journal: Journal
    ) -> None:
        self.config = config
        self.files = files
        self.journal = journal
        self.tree = config.model_dump(mode="json")
        self.states = Generations(files.path, KIND, VERSION, config.training.keep)
        self.device = resolve_device(config.training.device)

    def go(self, *, resume: bool) -> TrainingResult:
        state = self._read_state() if resume else None
        write_atomically(self.files.config, dump_config(self.config).encode())
        self.files.note_environment()
        dataset = load_dataset(
            self.config.data,
            self.config.model.cutoff,
            self.config.seed,
            progress=self.journal.say,
        )
        if state is not None:
            check_same_data(state.record["data"], dataset.hashes)
        write_json(self.files.data, dataset.hashes)
        self.dataset = dataset
        statistics = compute_statistics(
            dataset.train,
            reference_energies=self.config.data.reference_energies,
            isolated=dataset.isolated,
        )
        self.statistics = replace(
            statistics, warnings=(*dataset.warnings, *statistics.warnings)
        )
        self.samples = choose_samples(dataset.valid or dataset.train)
        self.model = self._model(None if state is None else state.record)
        trainer = self._trainer()
        self._introduce(trainer)
        seed_everything(self.config.seed)
        if state is not None:
            trainer.load_state(state)
            self.journal.say(f"resuming at step {trainer.position.step}")
            self._put_back_best(trainer)
            self._replan(trainer, state.record["config"])
        position = self._fit(trainer)
        if position.finished is None:
            self.journal.say(
                f"interrupted at step {position.step}; the state is in "
                f"{self.states.paths[0]}; go on with --resume"
            )
            return TrainingResult(self.files, position, {})
        self.journal.say(f"training ends: {position.finished}")
        if position.finished == OUT_OF_TIME:
            warning = not_annealed(trainer.schedule, trainer.progress)
            if warning is not None:
                self.journal.warn(warning)
        errors = self._test(position)
        self.journal.show(Fitted(error_table(errors)))
        return TrainingResult(self.files, position, errors, self._certify())

    def _read_state(self) -> State | None:
        if not self.states.exist():
            if self.files.last.exists():
                raise StateError(
                    f"{self.files.last} was written after the first state, but "
                    f"{self.files.path} holds no state: put it back to resume the run, "
                    "or start a new one with another --output"
                )
            self.journal.warn(
                "the run was stopped before its first state: starting anew"
            )
            return None
        record, tensors = self.states.load(self.journal.warn)
        finished = record["position"]["finished"] is not None
        check_same_config(record["config"], self.tree, finished=finished)
        threads = record["threads"]
        if (now := torch.get_num_threads()) != threads:
            self.journal.warn(
                f"the run had {threads} threads and has {now} now: results will differ "
                "in the last digits from those of a run without a stop; set "
                f"training.num_threads or OMP_NUM_THREADS to {threads}"
            )
        return State(tensors, record)

    def _model(self, record: Mapping[str, Any] | None) -> ModelConfig:
        """Architecture with the backend of this run; a resume keeps it, bit for bit."""
        model = self.config.model
        if model.backend != AUTO:
            return model
        if (backend := _recorded_backend(record)) is not None:
            self.journal.say(f"backend {backend}, with which the run began")
        else:
            training = self.config.training
            problem = typical_problem(
                model,
                self.statistics,
                self.device,
                structures=min(training.batch_size, len(self.dataset.train)),
                max_edges=training.max_edges,
            )
            choice = choose_backend(problem)
            self.journal.say(str(choice))
            backend = choice.backend
        return model.model_copy(update={"backend": backend})

    def _trainer(self) -> Trainer:
        potential = build_potential(
            self.model, self.statistics, seed=self.config.seed
        ).to(self.device)
        self._check_backend(potential)
        return build_trainer(
            self.config,
            potential,
            self.dataset,
            self.statistics,
            save_state=self._save_state,
            save_model=self._save_model,
            observers=[
                OldEnd(self.files.metrics),
                OldEnd(self.files.certificate),
                CsvLog(self.files.table),
                TensorBoardLog(self.files.tensorboard),
                ProgressBar(self.journal),
            ],
        )

    def _check_backend(self, potential: Potential) -> None:
        """Refuse a backend that is wrong here before hours are spent on it."""
        structures = self.samples or generate_structures(self.statistics)
        verification = check_backend(potential, structures)
        if verification is not None:
            self.journal.say(str(verification))

    def _introduce(self, trainer: Trainer) -> None:
        dataset, statistics = self.dataset, self.statistics
        tests = ", ".join(f"{name} {len(s)}" for name, s in dataset.test.items())
        parameters = sum(p.numel() for p in trainer.model.parameters())
        self.journal.say(
            f"structures: train {len(dataset.train)}, valid {len(dataset.valid)}, "
            f"test: {tests or 'none'}"
        )
        self.journal.say(
            f"elements: {', '.join(statistics.element_counts)}; reference energies: "
            f"{statistics.reference_source}"
        )
        self.journal.say(
            f"{parameters} parameters, {self.config.model.dtype} on {self.device}, "
            f"{torch.get_num_threads()} threads"
        )
        for warning in statistics.warnings:
            self.journal.warn(warning)
        for name in unused_labels(self.config.training.loss, statistics):
            self.journal.warn(
                f"{statistics.label_counts[name]} training structures have labels of "
                f"{name}, which are not learned: training.loss.{name}.weight is 0"
            )
        if not dataset.valid:
            self.journal.warn(
                "there is no validation set: the last weights count as the best"
            )

    def _replan(self, trainer: Trainer, before: Mapping[str, Any]) -> None:
        """Take up other epochs or another time budget than the run had."""
        limits = build_limits(TrainConfig.model_validate(before).training)
        message = replan(
            trainer.position, trainer.schedule, limits, trainer.limits, trainer.progress
        )
        if message is not None:
            self.journal.say(message)

    def _fit(self, trainer: Trainer) -> Position:
        main = threading.current_thread() is threading.main_thread()
        watching = watch_signals() if main else nullcontext(Interruption())
        try:
            with watching as interruption:
                return trainer.fit(interruption)
        except BadBatchError as error:
            write_examples(self.files.bad_batch, error.examples)
            raise BadBatchError(
                f"{error}. Its structures are in {self.files.bad_batch}, the last good "
                f"state is in {self.states.paths[0]}. Look for wrong labels or atoms "
                "too close, or start a new run with a lower training.optimizer.lr",
                error.examples,
            ) from error
        finally:
            for observer in trainer.observers:
                observer.close()

    def _save_state(self, state: State) -> None:
        record = {
            **state.record,
            "config": self.tree,
            "data": self.dataset.hashes,
            "backend": self.model.backend,
            "threads": torch.get_num_threads(),
        }
        self.states.save(record, state.tensors)

    def _save_model(self, model: nn.Module, best: bool, epoch: float) -> None:
        if not isinstance(model, Potential):
            raise TypeError(f"expected a Potential to save, got {type(model).__name__}")
        extra = self._provenance(epoch)
        golden = golden_outputs(model, self.samples, self.statistics)
        for path in (self.files.last, self.files.best)[: 2 if best else 1]:
            self._save(path, model, extra, golden=golden)

    def _put_back_best(self, trainer: Trainer) -> None:
        """Write the best model of the state where its file is damaged or another one.

        A run that was killed may have saved a better model after its last state. It is
        saved again where the run continues bit for bit, but not with another number of
        threads, or where the time that it took counts.
        """
        epoch = trainer.position.best_epoch
        if epoch is None or not trainer.best:
            return
        try:
            weights = read_weights(self.files.best)
        except (FileNotFoundError, CheckpointError) as error:
            self.journal.warn(f"{error}; it is written again from the state")
        else:
            if digest(weights) == digest(trainer.best):
                return
            self.journal.say(f"{self.files.best} goes back to epoch {epoch:g}")
        model = build_potential(self.model, self.statistics, seed=self.config.seed)
        model.load_state_dict(trainer.best)
        self._save(self.files.best, model, self._provenance(epoch))

    def _provenance(self, epoch: float) -> dict[str, Any]:
        return {
            "provenance": {
                "epoch": epoch,
                "seed": self.config.seed,
                "data": self.dataset.hashes,
                "config": self.tree,
            }
        }

    def _save(
        self,
        path: Path,
        model: Potential,
        extra: Mapping[str, Any],
        features: FeatureCloud | None = None,
        golden: GoldenOutputs | None = None,
    ) -> None:
        save_potential(
            path,
            model,
            self.config.model,
            self.statistics,
            extra,
            samples=self.samples,
            features=features,
            golden=golden,
        )

    def _test(self, position: Position) -> dict[str, Any]:
        """Errors of the best model, which also go to its file and `metrics.json`.

        The file gets what completes its domain, too: the features of the training set.
        """
        path = self.files.best
        model = load_potential(
            path, device=str(self.device), backend=self.model.backend
        )
        sets = {"valid": self.dataset.valid, **self.dataset.test}
        errors = {
            name: self._errors(model, examples)
            for name, examples in sets.items()
            if examples
        }
        summary = {
            "best_epoch": position.best_epoch,
            "epochs": position.epoch,
            "epochs_done": position.epochs_done,
            "epochs_asked": self.config.training.epochs,
            "finished": position.finished,
            "steps": position.step,
            "errors": errors,
        }
        header = read_header(path)
        # Without times, so that equal runs give equal files.
        history = [
            {k: v for k, v in row.items() if k != "seconds"} for row in position.history
        ]
        extra = {
            "provenance": header["provenance"],
            "training": {**summary, "history": history},
        }
        training = self.config.training
        features = fit_features(model, self.dataset.train, self.dataset.valid, training)
        self._save(path, model, extra, features)
        write_json(
            self.files.metrics,
            {
                **summary,
                "seconds": position.seconds,
                "history": position.history,
            },
        )
        return errors

    def _certify(self) -> ModelReport | None:
        """Verify the best model, which stays as it is, for `verification.json`."""
        if not self.config.training.verify:
            return None
        certificate = verify_model(
            self.files.best,
            backends=[self.model.backend],
            device=str(self.device),
            level="quick",
        )
        write_json(self.files.certificate, certificate.as_dict())
        report = self.journal.say if certificate.passed else self.journal.warn
        report(str(certificate))
        return certificate

    def _errors(self, model: nn.Module, examples: Sequence[Example]) -> dict[str, Any]:
        batches = evaluation_batches(
            [example.graph.num_edges for example in examples],
            self.config.training.valid_batch_size,
            self.config.training.max_edges,
        )
        _, errors = evaluate(
            model,
            (make_batch([examples[n] for n in b]).to(self.device) for b in batches),
            labeled_outputs(examples),
            ErrorAccumulator(self.statistics.reference_energies),
        )
        return errors


def _recorded_backend(record: Mapping[str, Any] | None) -> str | None:
    """Backend that a run began with; None if it has not begun."""
    if record is None:
        return None
    # States of early versions hold the configured one only, which was never auto.
    backend: str = record.get("backend", record["config"]["model"].get("backend", AUTO))
    return None if backend == AUTO else backend
