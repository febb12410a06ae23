"""The training loop: epochs, steps, validation, and when to stop or to save."""

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
from equipot.training.position import (
    ALL_EPOCHS,
    OUT_OF_TIME,
    PLANNED_EPOCHS,
    EpochSums,
    Position,
    Row,
)
from equipot.training.rng import random_record, random_tensors, restore_random
from equipot.training.schedule import Schedule, set_learning_rate
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
    """A step failed; `examples` are the structures of its batch."""

    def __init__(self, message: str, examples: Sequence[Example]) -> None:
        super().__init__(message)
        self.examples = examples


class Trainer:
    """A potential, its optimizer and its data, and the loop over them.

    Args:
        model: Potential on the device to compute on.
        average: Average of its weights, or None to validate the weights themselves.
        optimizer: Of the weights.
        learning_rate: Highest learning rate.
        schedule: Factor on it.
        loss: What is minimized.
        train: Structures to learn from.
        valid: Structures to select by; without any the last weights count as the best.
        sampler: Batches of every epoch.
        valid_batch_size: Most structures of a batch in validation; the sampler's bound
            on edges holds there, too.
        gradient_clip: Largest norm of the gradient.
        limits: When to stop, to validate and to save.
        save_state: Called with each state to keep.
        save_model: Called with a potential to keep, whether it is the best so far, and
            the number of epochs it has seen.
        observers: Who follows the run.
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
        self.position = Position()
        self.best: dict[str, Tensor] = {}
        """Weights of the best model so far, as it was saved."""
        self.sums = EpochSums()
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

    def fit(self, interruption: Interruption) -> Position:
        """Train until the last epoch, the budget, early stopping or a signal.

        Returns:
            Where training stopped; `Position.finished` is None after a signal.

        Raises:
            BadBatchError: If loss or gradient of a batch are not finite.
        """
        self._clock = time.monotonic()
        self.position.finished = self._verdict()
        if self.position.finished is None:
            self.position.drop_partial_row()
        for observer in self.observers:
            observer.on_start(self.position, self.limits)
        if self.position.step == 0:
            self.save()
        while self.position.finished is None and not interruption.requested:
            if self._train_epoch(interruption):
                self._end_epoch()
            elif self._verdict() is not None:
                self._end_budget()
        self.save()
        return self.position

    def _train_epoch(self, interruption: Interruption) -> bool:
        """Do the batches that are left of an epoch; whether it is complete."""
        position = self.position
        batches = self.sampler.batches(position.epoch)
        self.model.train()
        for indices in batches[position.batch :]:
            self._step([self.train[n] for n in indices], len(batches))
            complete = position.batch == len(batches)
            if not complete and plan_is_due(position, self.limits):
                self._plan()
            progress = position.epoch + position.batch / len(batches)
            ends = self._out_of_time() or is_planned_end(position, progress)
            if not complete and (interruption.requested or ends):
                return False
            if not complete and self._state_is_due():
                self.save()
        return True

    def _step(self, examples: Sequence[Example], num_batches: int) -> None:
        position = self.position
        progress = position.epoch + (position.batch + 1) / num_batches
        set_learning_rate(
            self.optimizer, self.learning_rate * self.schedule.factor(progress)
        )
        batch = make_batch(examples).to(self.device)
        result = self._checked_step(batch)
        if self.average is not None:
            self.average.update(self.model, position.epoch)
        self.sums.add(result)
        self.sums.errors.update(
            result.prediction, batch.graph, batch.labels, batch.config_types
        )
        position.batch += 1
        position.step += 1
        self._tick()
        for observer in self.observers:
            observer.on_step(position, num_batches, result)

    def _checked_step(self, batch: Batch) -> StepResult:
        try:
            return train_step(
                self.model,
                self.optimizer,
                self.loss,
                batch,
                epoch=self.position.epoch,
                gradient_clip=self.gradient_clip,
                key=(self.sampler.seed, self.position.epoch, self.position.batch),
            )
        except NonFiniteError as error:
            sources = ", ".join(example.source for example in batch.examples)
            raise BadBatchError(
                f"step {self.position.step + 1} (epoch {self.position.epoch + 1}): "
                f"{error}, on {sources}",
                batch.examples,
            ) from error

    def _end_epoch(self) -> None:
        position, limits = self.position, self.limits
        position.epoch += 1
        position.batch = 0
        position.finished = self._verdict()
        row = self._training_row(position.epoch)
        errors: dict[str, Any] = {}
        if position.finished or position.epoch % limits.validate_every == 0:
            errors = self._validate(row)
            if (loss := row.get("valid_loss")) is not None:
                self.schedule.observe(loss)
                position.wait(loss, limits.early_stop_min_delta)
            self._tick()
            position.finished = self._verdict()
        self.sums = EpochSums()
        row["seconds"] = position.seconds
        position.history.append(row)
        for observer in self.observers:
            observer.on_epoch(row, errors)
        if position.finished is not None:
            return
        if position.epoch == 1:
            self._tell_duration()
        if plan_is_due(position, limits):
            self._plan()
        if self._state_is_due():
            self.save()

    def _tell_duration(self) -> None:
        seconds = self.position.seconds
        total = duration(seconds * self.limits.epochs)
        self._note(
            f"an epoch takes about {duration(seconds)}, all {self.limits.epochs} about "
            f"{total}"
        )

    def _plan(self) -> None:
        """Fit the schedule to the time budget; kept at once, as it is decided once."""
        plan = make_plan(self.position, self.schedule, self.limits, self.progress)
        if plan is not None:
            self._note(plan)
            for message in self._never_reached():
                self._note(message)
        self.save()

    def _never_reached(self) -> Iterator[str]:
        """Steps of weights that come after the end that the time budget sets."""
        end = self.position.planned
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
        """Validate within an epoch; a run that goes on drops this row again."""
        position = self.position
        row = self._training_row(self.progress)
        errors = self._validate(row)
        self._tick()
        row["seconds"] = position.seconds
        position.history.append(row)
        position.finished = self._verdict()
        for observer in self.observers:
            observer.on_epoch(row, errors)

    def _training_row(self, epoch: int | float) -> Row:
        row: Row = {
            "epoch": epoch,
            "step": self.position.step,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": self.sums.gradient_norm / self.sums.batches,
            "train_loss": self.sums.loss / self.sums.batches,
        }
        for name, errors in self.sums.errors.compute().items():
            row[f"train_{name}_mae"] = errors["overall"]["mae"]
        return row

    def _validate(self, row: Row) -> dict[str, Any]:
        """Judge the averaged weights, note the errors in a row, keep the best."""
        model = self.averaged_model
        position = self.position
        epoch = float(row["epoch"] or 0)
        if not self._valid_batches:
            position.best_epoch = epoch
            self._keep(model, True, epoch)
            return {}
        loss, errors = evaluate(
            model,
            (batch.to(self.device) for batch in self._valid_batches),
            self._valid_outputs,
            ErrorAccumulator(self.reference_energies),
            self.loss,
        )
        if loss is None or not loss < float("inf"):
            raise NonFiniteError(
                f"the validation loss is {loss} after epoch {row['epoch']}; start a "
                "new run with a lower training.optimizer.lr or training.gradient_clip"
            )
        row["valid_loss"] = loss
        for name, groups in errors.items():
            row[f"valid_{name}_mae"] = groups["overall"]["mae"]
            row[f"valid_{name}_rmse"] = groups["overall"]["rmse"]
        best = position.improve(loss, epoch)
        row["best"] = int(best)
        self._keep(model, best, epoch)
        return errors

    def _keep(self, model: nn.Module, best: bool, epoch: float) -> None:
        if best:
            self.best = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.save_model(model, best, epoch)

    @property
    def averaged_model(self) -> nn.Module:
        """What is validated and kept: the average, or the model if there is none."""
        return self.model if self.average is None else self.average.model

    def _verdict(self) -> str | None:
        """Why training is over, if it is."""
        position, patience = self.position, self.limits.early_stop_patience
        if position.epoch >= self.limits.epochs:
            return ALL_EPOCHS
        if is_planned_end(position, self.progress):
            return PLANNED_EPOCHS
        if patience is not None and position.waited >= patience:
            return f"no better validation loss in {position.waited} validations"
        return OUT_OF_TIME if self._out_of_time() else None

    @property
    def progress(self) -> float:
        """Epochs that are done, the part of the present one included."""
        position = self.position
        if position.batch == 0:
            return float(position.epoch)
        batches = self.sampler.batches(position.epoch)
        return position.epoch + position.batch / len(batches)

    def _tick(self) -> None:
        now = time.monotonic()
        self.position.seconds += now - self._clock
        self._clock = now

    def _out_of_time(self) -> bool:
        budget = self.limits.max_seconds
        return budget is not None and self.position.seconds >= budget

    def _state_is_due(self) -> bool:
        steps = self.limits.save_steps
        if steps is not None and self.position.step % steps == 0:
            return True
        return time.monotonic() - self._saved_at >= self.limits.save_seconds

    def save(self) -> None:
        """Hand the present state to `save_state`."""
        self.save_state(self.state())
        self._saved_at = time.monotonic()

    def state(self) -> State:
        """All that `load_state` needs to go on."""
        tensors = {
            **with_prefix("model", self.model.state_dict()),
            **with_prefix("optimizer", optimizer_tensors(self.optimizer)),
            **with_prefix("random", random_tensors()),
            **with_prefix("best", self.best),
        }
        if self.average is not None:
            tensors |= with_prefix("average", self.average.state_dict())
        record = {
            "position": vars(self.position) | {"history": list(self.position.history)},
            "sums": self.sums.state(),
            "schedule": self.schedule.state_dict(),
            "random": random_record(),
        }
        return State(tensors, record)

    def load_state(self, state: State) -> None:
        """Go on from what `state` returned, bit for bit."""
        tensors, record = state.tensors, state.record
        self.model.load_state_dict(without_prefix("model", tensors))
        if self.average is not None:
            self.average.load_state_dict(without_prefix("average", tensors))
        load_optimizer_tensors(self.optimizer, without_prefix("optimizer", tensors))
        self.best = without_prefix("best", tensors)
        self.schedule.load_state_dict(record["schedule"])
        self.position = Position(**record["position"])
        self.sums.load_state(record["sums"])
        restore_random(without_prefix("random", tensors), record["random"])
