"""Where a run is: counters, sums of the epoch in progress, history."""

from dataclasses import dataclass, field
from typing import Any, Final

from equipot.evaluation.metrics import ErrorAccumulator
from equipot.training.step import StepResult

ALL_EPOCHS: Final = "all epochs are done"
OUT_OF_TIME: Final = "the time budget is spent"
PLANNED_EPOCHS: Final = "the epochs that the time budget allows are done"
"""Why training is over, if not for want of improvement."""

Row = dict[str, float | int | None]
"""One line of the history; see `equipot.training.logs.COLUMNS`."""


@dataclass
class Position:
    """Counters of a run, ready for JSON."""

    epoch: int = 0
    """Epochs that are complete."""
    batch: int = 0
    """Batches of the current epoch that are done."""
    step: int = 0
    """Steps of the optimizer."""
    seconds: float = 0.0
    """Time spent on training, over all resumes."""
    best_loss: float | None = None
    """Lowest validation loss so far."""
    best_epoch: float | None = None
    """Epochs that were complete at that time."""
    reference_loss: float | None = None
    """Validation loss that early stopping compares with."""
    waited: int = 0
    """Validations since it last improved."""
    budget: float | None = None
    """Time budget in s that the number of epochs was fitted to; None before that."""
    planned: float | None = None
    """Epochs that it allows, if fewer than were asked for."""
    finished: str | None = None
    """Why training is over, if it is."""
    history: list[Row] = field(default_factory=list)
    """One row per complete epoch, and one for where a budget ended within one."""

    @property
    def epochs_done(self) -> float:
        """Epochs, with the part of one where the time budget ended within it."""
        last = self.history[-1]["epoch"] if self.history else None
        return float(max(self.epoch, last or 0))

    def drop_partial_row(self) -> None:
        """Forget the row of an epoch that is not complete, as it will be."""
        self.history = [
            row for row in self.history if (row["epoch"] or 0) <= self.epoch
        ]

    def improve(self, loss: float, epoch: float) -> bool:
        """Note a validation loss; whether it is the lowest so far."""
        if self.best_loss is not None and loss >= self.best_loss:
            return False
        self.best_loss, self.best_epoch = loss, epoch
        return True

    def wait(self, loss: float, min_delta: float) -> int:
        """Validations, this one included, since the loss last fell by a fraction."""
        reference = self.reference_loss
        if reference is None or loss < reference * (1 - min_delta):
            self.reference_loss, self.waited = loss, 0
        else:
            self.waited += 1
        return self.waited


class EpochSums:
    """What the batches of an epoch add up to, so far."""

    def __init__(self) -> None:
        self.errors = ErrorAccumulator()
        self.batches = 0
        self.loss = 0.0
        self.gradient_norm = 0.0

    def add(self, result: StepResult) -> None:
        """Count loss and gradient of a step; errors are counted by themselves."""
        self.batches += 1
        self.loss += result.loss
        self.gradient_norm += result.gradient_norm

    def state(self) -> dict[str, Any]:
        """What `load_state` needs, ready for JSON; floats survive exactly."""
        return {
            "errors": self.errors.state(),
            "batches": self.batches,
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.errors.load_state(state["errors"])
        self.batches = state["batches"]
        self.loss = state["loss"]
        self.gradient_norm = state["gradient_norm"]
