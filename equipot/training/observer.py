"""Training callbacks; stopping and checkpoint intervals."""

from dataclasses import dataclass
from typing import Any

from equipot.training.progress import Row, TrainingProgress
from equipot.training.step import StepResult


@dataclass(frozen=True)
class Limits:
    """Stopping criteria and intervals of validation and saving."""

    epochs: int
    """Passes over the training set."""
    max_seconds: float | None = None
    """Time budget in s, summed over all resumes."""
    early_stop_patience: int | None = None
    """Validations without improvement before training ends; None: no early stop."""
    early_stop_min_delta: float = 0.0
    """Smallest relative decrease of the loss that counts as an improvement."""
    validate_every: int = 1
    """Epochs between validations."""
    save_seconds: float = 60.0
    """Seconds between saved states."""
    save_steps: int | None = None
    """Steps between saved states; None: by time only."""


class Observer:
    """Training callbacks, such as a log or a progress bar. All default to no-ops."""

    def on_start(self, progress: TrainingProgress, limits: Limits) -> None:
        """Called before training starts or resumes."""

    def on_step(
        self, progress: TrainingProgress, num_batches: int, result: StepResult
    ) -> None:
        """Called after an optimizer step."""

    def on_epoch(self, row: Row, errors: dict[str, Any]) -> None:
        """Called after an epoch, with the errors on the validation set."""

    def on_note(self, message: str) -> None:
        """Called with a message for the user."""

    def close(self) -> None:
        """Called when training ends, also by an error."""
