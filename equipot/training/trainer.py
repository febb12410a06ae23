"""Training loop: epochs, steps, validation, stopping and saving."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from equipot.data.batching import EdgeBudgetSampler, evaluation_batches
from equipot.data.labels import Example
from equipot.evaluation.metrics import ErrorAccumulator
from equipot.system.interrupt import Interruption
from equipot.training.ema import WeightAverage
from equipot.training.loss import EnergyForcesStressLoss
from equipot.training.observer import Limits, Observer
from equipot.training.optimizer import load_optimizer_tensors, optimizer_tensors
from equipot.training.progress import (
    ALL_EPOCHS,
    OUT_OF_TIME,
    PLANNED_EPOCHS,
    EpochMetrics,
    Row,
    TrainingProgress,
)
from equipot.training.rng import random_record, random_tensors, restore_random
from equipot.training.schedule import (
    Schedule,
    learning_rate_of,
    set_learning_rate,
)
from equipot.training.state import State, with_prefix, without_prefix
from equipot.training.step import (
    Batch,
    NonFiniteError,
    StepResult,
    evaluate,
    labeled_outputs,
    make_batch,
    train_step,
)
from equipot.training.time_budget import (
    duration,
    is_planned_end,
    make_plan,
    plan_is_due,
)


class BadBatchError(NonFiniteError):
    """A step with a non-finite loss or gradient; `examples` is its batch."""

    def __init__(self, message: str, examples: Sequence[Example]) -> None:
        super().__init__(message)
        self.examples = examples


class DivergedError(ValueError):
    """Losses rose far above their lowest values."""


DIVERGENCE = 100.0
"""Ratio of a loss to the lowest one: errors are ten times as large."""
DIVERGED_EPOCHS = 3
"""Consecutive epochs above this ratio after which training ends."""


class Trainer:
    """Training loop of a potential.

    Args:
        model: Potential on the device to train on.
        average: Average of its weights, or None to validate the current weights.
        optimizer: Optimizer of the weights.
        learning_rate: Maximum learning rate.
        schedule: Factor on the learning rate.
        loss: Loss function.
        train: Training set.
        valid: Validation set; if empty, the last weights are used as the best.
        sampler: Batches of every epoch.
        valid_batch_size: Maximum number of structures per validation batch; the
            sampler's limit of edges applies as well.
        gradient_clip: Maximum norm of the gradient.
        limits: Stopping criteria and intervals of validation and saving.
        save_state: Called with each state to save.
        save_model: Called with a potential to save, whether it is the best so far, and
            the number of epochs it was trained for.
        observers: Training callbacks.
        reference_energies: In eV by atomic number, for the spread of energies.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        average: WeightAverage | None,
        optimizer: Optimizer,
        learning_rate: float,
        schedule: Schedule,
        loss: EnergyForcesStressLoss,
        train: Sequence[Example],
        valid: Sequence[Example],
        sampler: EdgeBudgetSampler,
        valid_batch_size: int,
        gradient_clip: float | None,
        limits: Limits,
        save_state: Callable[[State], None],
        save_model: Callable[[nn.Module, bool, float], None],
        observers: Sequence[Observer] = (),
        reference_energies: dict[int, float] | None = None,
    ) -> None:
        self.model = model
        self.average = average
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.loss = loss
        self.train = train
        self.valid = valid
        self.sampler = sampler
        self.gradient_clip = gradient_clip
        self.limits = limits
        self.save_state = save_state
        self.save_model = save_model
        self.observers = observers
        self.reference_energies = reference_energies
        self.progress = TrainingProgress()
        self.best: dict[str, Tensor] = {}
        """Weights of the best saved model so far."""
        self.epoch_metrics = EpochMetrics()
        self.device = next(model.parameters()).device
        batches = evaluation_batches(
            [e.graph.num_edges for e in valid], valid_batch_size, sampler.max_edges
        )
        self._valid_batches = [
            make_batch([valid[n] for n in batch]) for batch in batches
        ]
        self._valid_outputs = labeled_outputs(valid)
        self._clock = time.monotonic()
        self._saved_at = time.monotonic()

    def fit(self, interruption: Interruption) -> TrainingProgress:
        """Train until the last epoch, the time budget, early stopping or a signal.

        Returns:
            Progress of training; `TrainingProgress.finished` is None after a signal.

        Raises:
            BadBatchError: If loss or gradient of a batch is not finite.
            DivergedError: If losses rise far above their lowest values.
        """
        self._clock = time.monotonic()
        self.progress.finished = self._end_reason()
        if self.progress.finished is None:
            self.progress.drop_partial_row()
        for observer in self.observers:
            observer.on_start(self.progress, self.limits)
        if self.progress.step == 0:
            self.save()
        while self.progress.finished is None and not interruption.requested:
            if self._train_epoch(interruption):
                self._end_epoch()
            elif self._end_reason() is not None:
                self._end_budget()
        self.save()
        return self.progress

    def _train_epoch(self, interruption: Interruption) -> bool:
        """Train on the remaining batches of an epoch; whether it is complete."""
        progress = self.progress
        batches = self.sampler.batches(progress.epoch)
        self.model.train()
        for indices in batches[progress.batch :]:
            self._step([self.train[n] for n in indices], len(batches))
            complete = progress.batch == len(batches)
            if not complete and plan_is_due(progress, self.limits):
                self._plan()
            fractional_epoch = progress.epoch + progress.batch / len(batches)
            ends = self._out_of_time() or is_planned_end(progress, fractional_epoch)
            if not complete and (interruption.requested or ends):
                return False
            if not complete and self._state_is_due():
                self.save()
        return True

    def _step(self, examples: Sequence[Example], num_batches: int) -> None:
        progress = self.progress
        fractional_epoch = progress.epoch + (progress.batch + 1) / num_batches
        set_learning_rate(
            self.optimizer, self.learning_rate * self.schedule.factor(fractional_epoch)
        )
        batch = make_batch(examples).to(self.device)
        result = self._checked_step(batch)
        if self.average is not None:
            self.average.update(self.model, progress.epoch)
        self.epoch_metrics.add(result)
        self.epoch_metrics.errors.update(
            result.prediction, batch.graph, batch.labels, batch.config_types
        )
        progress.batch += 1
        progress.step += 1
        self._tick()
        for observer in self.observers:
            observer.on_step(progress, num_batches, result)

    def _checked_step(self, batch: Batch) -> StepResult:
        try:
            return train_step(
                self.model,
                self.optimizer,
                self.loss,
                batch,
                epoch=self.progress.epoch,
                gradient_clip=self.gradient_clip,
                key=(self.sampler.seed, self.progress.epoch, self.progress.batch),
            )
        except NonFiniteError as error:
            sources = ", ".join(example.source for example in batch.examples)
            raise BadBatchError(
                f"step {self.progress.step + 1} (epoch {self.progress.epoch + 1}): "
                f"{error}, on {sources}",
                batch.examples,
            ) from error

    def _end_epoch(self) -> None:
        progress, limits = self.progress, self.limits
        progress.epoch += 1
        progress.batch = 0
        progress.finished = self._end_reason()
        row = self._training_row(progress.epoch)
        errors: dict[str, Any] = {}
        if progress.finished or progress.epoch % limits.validate_every == 0:
            errors = self._validate(row)
            if (loss := row.get("valid_loss")) is not None:
                self.schedule.observe(loss)
                progress.wait(loss, limits.early_stop_min_delta)
            self._tick()
            progress.finished = self._end_reason()
        self.epoch_metrics = EpochMetrics()
        row["seconds"] = progress.seconds
        progress.history.append(row)
        for observer in self.observers:
            observer.on_epoch(row, errors)
        self._refuse_divergence()
        if progress.finished is not None:
            return
        if progress.epoch == 1:
            self._announce_duration()
        if plan_is_due(progress, limits):
            self._plan()
        if self._state_is_due():
            self.save()

    def _announce_duration(self) -> None:
        seconds = self.progress.seconds
        total = duration(seconds * self.limits.epochs)
        self._note(
            f"an epoch takes about {duration(seconds)}, all {self.limits.epochs} about "
            f"{total}"
        )

    def _plan(self) -> None:
        """Fit the schedule to the time budget, and save this decision."""
        plan = make_plan(
            self.progress, self.schedule, self.limits, self.fractional_epoch
        )
        if plan is not None:
            self._note(plan)
            for message in self._unreached_weights():
                self._note(message)
        self.save()

    def _unreached_weights(self) -> Iterator[str]:
        """Messages about weight changes after the end set by the time budget."""
        end = self.progress.planned
        for name, term in self.loss.terms.items():
            late = [epoch for epoch, _ in term.weights if end and epoch >= end]
            if late:
                yield (
                    f"training.loss.{name}.weight changes at epoch {late[0]}, which "
                    "the run will not reach in its time budget"
                )

    def _note(self, message: str) -> None:
        for observer in self.observers:
            observer.on_note(message)

    def _end_budget(self) -> None:
        """Validate within an epoch; a resumed run drops this row."""
        progress = self.progress
        row = self._training_row(self.fractional_epoch)
        errors = self._validate(row)
        self._tick()
        row["seconds"] = progress.seconds
        progress.history.append(row)
        progress.finished = self._end_reason()
        for observer in self.observers:
            observer.on_epoch(row, errors)

    def _training_row(self, epoch: int | float) -> Row:
        row: Row = {
            "epoch": epoch,
            "step": self.progress.step,
            "learning_rate": learning_rate_of(self.optimizer),
            "gradient_norm": self.epoch_metrics.gradient_norm
            / self.epoch_metrics.batches,
            "train_loss": self.epoch_metrics.loss / self.epoch_metrics.batches,
        }
        for name, errors in self.epoch_metrics.errors.compute().items():
            row[f"train_{name}_mae"] = errors["overall"]["mae"]
        return row

    def _validate(self, row: Row) -> dict[str, Any]:
        """Validate the averaged weights, add errors to the row, save the model."""
        model = self.averaged_model
        progress = self.progress
        epoch = float(row["epoch"] or 0)
        if not self._valid_batches:
            progress.best_epoch = epoch
            self._save_model(model, True, epoch)
            return {}
        loss, errors = self.evaluate(model)
        if loss is None or not loss < float("inf"):
            raise NonFiniteError(
                f"the validation loss is {loss} after epoch {row['epoch']}; start a "
                "new run with a lower training.optimizer.lr or training.gradient_clip"
            )
        row["valid_loss"] = loss
        for name, groups in errors.items():
            row[f"valid_{name}_mae"] = groups["overall"]["mae"]
            row[f"valid_{name}_rmse"] = groups["overall"]["rmse"]
        best = progress.improve(loss, epoch)
        row["best"] = int(best)
        self._save_model(model, best, epoch)
        return errors

    def evaluate(self, model: nn.Module) -> tuple[float | None, dict[str, Any]]:
        """Loss and errors of a model on the validation set."""
        return evaluate(
            model,
            (batch.to(self.device) for batch in self._valid_batches),
            self._valid_outputs,
            ErrorAccumulator(self.reference_energies),
            self.loss,
        )

    def _refuse_divergence(self) -> None:
        """Raise if the last epochs were all far worse than the best one.

        Losses of training and of validation count: an average of weights can be bad
        for a while although training goes on well.
        """
        rows = self.progress.history
        for name in ("valid_loss", "train_loss"):
            losses = [loss for row in rows if (loss := row.get(name)) is not None]
            last = losses[-DIVERGED_EPOCHS:]
            if len(losses) <= DIVERGED_EPOCHS or min(last) <= DIVERGENCE * min(losses):
                return
        raise DivergedError(
            f"training diverged: losses of the last {DIVERGED_EPOCHS} epochs were at "
            f"least {DIVERGENCE:g} times the lowest ones. The best model, of epoch "
            f"{self.progress.best_epoch:g}, is kept. Start a new run with a third of "
            f"training.optimizer.lr, which is {self.learning_rate:g}; train-potential "
            "--find-lr compares rates"
        )

    def _save_model(self, model: nn.Module, best: bool, epoch: float) -> None:
        if best:
            self.best = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.save_model(model, best, epoch)

    @property
    def averaged_model(self) -> nn.Module:
        """Model that is validated and saved: the average, if there is one."""
        return self.model if self.average is None else self.average.model

    def _end_reason(self) -> str | None:
        """Reason to end training; None to continue."""
        progress, patience = self.progress, self.limits.early_stop_patience
        if progress.epoch >= self.limits.epochs:
            return ALL_EPOCHS
        if is_planned_end(progress, self.fractional_epoch):
            return PLANNED_EPOCHS
        if patience is not None and progress.waited >= patience:
            return f"no better validation loss in {progress.waited} validations"
        return OUT_OF_TIME if self._out_of_time() else None

    @property
    def fractional_epoch(self) -> float:
        """Trained epochs, including the fraction of the current one."""
        progress = self.progress
        if progress.batch == 0:
            return float(progress.epoch)
        batches = self.sampler.batches(progress.epoch)
        return progress.epoch + progress.batch / len(batches)

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        self._clock = now

    def _out_of_time(self) -> bool:
        budget = self.limits.max_seconds
        return budget is not None and self.progress.seconds >= budget

    def _state_is_due(self) -> bool:
        steps = self.limits.save_steps
        if steps is not None and self.progress.step % steps == 0:
            return True
        return time.monotonic() - self._saved_at >= self.limits.save_seconds

    def save(self) -> None:
        """Pass the current state to `save_state`."""
        self.save_state(self.state())
        self._saved_at = time.monotonic()

    def state(self) -> State:
        """State for `load_state`."""
        tensors = {
            **with_prefix("model", self.model.state_dict()),
            **with_prefix("optimizer", optimizer_tensors(self.optimizer)),
            **with_prefix("random", random_tensors()),
            **with_prefix("best", self.best),
        }
        if self.average is not None:
            tensors |= with_prefix("average", self.average.state_dict())
        record = {
            "position": vars(self.progress) | {"history": list(self.progress.history)},
            "sums": self.epoch_metrics.state(),
            "schedule": self.schedule.state_dict(),
            "random": random_record(),
        }
        return State(tensors, record)

    def load_state(self, state: State) -> None:
        """Restore what `state` returned; training continues bit for bit."""
        tensors, record = state.tensors, state.record
        self.model.load_state_dict(without_prefix("model", tensors))
        if self.average is not None:
            self.average.load_state_dict(without_prefix("average", tensors))
        load_optimizer_tensors(self.optimizer, without_prefix("optimizer", tensors))
        self.best = without_prefix("best", tensors)
        self.schedule.load_state_dict(record["schedule"])
        self.progress = TrainingProgress(**record["position"])
        self.epoch_metrics.load_state(record["sums"])
        restore_random(without_prefix("random", tensors), record["random"])
