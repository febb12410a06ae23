"""Progress of training: counters, metrics of the current epoch, history."""

from dataclasses import dataclass, field
from typing import Any, Final

from equipot.evaluation.metrics import ErrorAccumulator
from equipot.training.step import StepResult

ALL_EPOCHS: Final = "all epochs are done"
OUT_OF_TIME: Final = "the time budget is spent"
PLANNED_EPOCHS: Final = "the epochs that the time budget allows are done"
"""Reasons why training ended, besides early stopping; stored in files."""

Row = dict[str, float | int | None]
"""One row of the history; see `equipot.training.logs.COLUMNS`."""


@dataclass
class TrainingProgress:
    """Counters and history of a run; JSON serializable."""

    epoch: int = 0
    """Completed epochs."""
    batch: int = 0
    """Completed batches of the current epoch."""
    step: int = 0
    """Completed optimizer steps."""
    seconds: float = 0.0
    """Training time in s, summed over all resumes."""
    best_loss: float | None = None
    """Lowest validation loss so far."""
    best_epoch: float | None = None
    """Completed epochs at the lowest validation loss."""
    reference_loss: float | None = None
    """Reference loss of early stopping."""
    waited: int = 0
    """Validations since the reference loss last improved."""
    budget: float | None = None
    """Time budget in s that the schedule was fitted to; None before that."""
    planned: float | None = None
    """Epochs within the time budget, if fewer than configured."""
    finished: str | None = None
    """Reason why training ended; None if it has not ended."""
    history: list[Row] = field(default_factory=list)
    """One row per completed epoch, and one if the budget ended within an epoch."""

    @property
    def epochs_done(self) -> float:
        """Trained epochs, including the fraction where a time budget ended."""
        last = self.history[-1]["epoch"] if self.history else None
        return float(max(self.epoch, last or 0))

    def drop_partial_row(self) -> None:
        """Drop the row of a partial epoch, which training will complete."""
        self.history = [
            row for row in self.history if (row["epoch"] or 0) <= self.epoch
        ]

    def improve(self, loss: float, epoch: float) -> bool:
        """Record a validation loss; return whether it is the lowest so far."""
        if self.best_loss is not None and loss >= self.best_loss:
            return False
        self.best_loss, self.best_epoch = loss, epoch
        return True

    def wait(self, loss: float, min_delta: float) -> int:
        """Update and return the number of validations without improvement."""
        reference = self.reference_loss
        if reference is None or loss < reference * (1 - min_delta):
            self.reference_loss, self.waited = loss, 0
        else:
            self.waited += 1
        return self.waited


class EpochMetrics:
    """Accumulated training metrics of the current epoch."""

    def __init__(self) -> None:
        self.errors = ErrorAccumulator()
        self.batches = 0
        self.loss = 0.0
        self.gradient_norm = 0.0

    def add(self, result: StepResult) -> None:
        """Add loss and gradient norm of a step; `errors` is updated separately."""
        self.batches += 1
        self.loss += result.loss
        self.gradient_norm += result.gradient_norm

    def state(self) -> dict[str, Any]:
        """State for `load_state`; JSON serializable without loss."""
        return {
            "errors": self.errors.state(),
            "batches": self.batches,
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.errors.load_state(state["errors"])
        self.batches = state["batches"]
        self.loss = state["loss"]
        self.gradient_norm = state["gradient_norm"]
