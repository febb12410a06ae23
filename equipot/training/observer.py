"""Training callbacks; stopping and checkpoint intervals."""

from dataclasses import dataclass
from typing import Any

from equipot.training.position import Position, Row
from equipot.training.step import StepResult


@dataclass(frozen=True)
class Limits:
    """When to stop, to validate and to save."""

    epochs: int
    """Passes over the training set."""
    max_seconds: float | None = None
    """Time to spend, over all resumes."""
    early_stop_patience: int | None = None
    """Validations without improvement before the end; None never gives up."""
    early_stop_min_delta: float = 0.0
    """Relative decrease of the loss that counts as an improvement."""
    validate_every: int = 1
    """Epochs between validations."""
    save_seconds: float = 60.0
    """Time between states."""
    save_steps: int | None = None
    """Steps between states."""


class Observer:
    """Callbacks of training, such as a progress bar; all hooks default to no-ops."""

    def on_start(self, position: Position, limits: Limits) -> None:
        """Training starts or resumes."""

    def on_step(self, position: Position, num_batches: int, result: StepResult) -> None:
        """A step was done."""

    def on_epoch(self, row: Row, errors: dict[str, Any]) -> None:
        """An epoch is complete; errors are those on the validation set."""

    def on_note(self, message: str) -> None:
        """Something was decided that a user should know."""

    def close(self) -> None:
        """Training is over, or has failed."""
