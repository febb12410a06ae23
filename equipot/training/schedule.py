"""Learning-rate schedules as functions of the epoch, independent of wall time.

Under a time budget, the number of epochs is fitted to it once, and stored.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, final

from torch.optim import Optimizer

from equipot.training.optimizer import LR_FACTOR

MAX_WARMUP_FRACTION = 0.2
"""Maximum fraction of warmup in a schedule that was changed during the run."""


class Schedule(ABC):
    """Factor on the maximum learning rate.

    Args:
        warmup_epochs: Length of the linear warmup.
    """

    def __init__(self, warmup_epochs: float = 0.0) -> None:
        self.warmup_epochs = warmup_epochs

    def factor(self, epoch: float) -> float:
        """Factor at a fractional epoch."""
        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs
        return self._factor_after_warmup(epoch)

    @abstractmethod
    def _factor_after_warmup(self, epoch: float) -> float:
        """Factor at a fractional epoch after the warmup."""

    def observe(self, loss: float) -> None:  # noqa: B027 (a no-op for most schedules)
        """Update with a validation loss."""

    def state_dict(self) -> dict[str, Any]:
        """Mutable state; JSON serializable."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        if state.keys() != self.state_dict().keys():
            raise ValueError(f"not a state of {type(self).__name__}: {sorted(state)}")
        vars(self).update(state)


@final
class Constant(Schedule):
    """Constant learning rate."""

    def _factor_after_warmup(self, epoch: float) -> float:
        return 1.0


@final
class Cosine(Schedule):
    """Cosine annealing from the end of the warmup, or later, to the last epoch.

    Args:
        epochs: Last epoch.
        min_factor: Factor at the end.
        warmup_epochs: Length of the linear warmup.
        stable_share: Fraction of the epochs after the warmup with the factor 1.
    """

    def __init__(
        self,
        epochs: int | float,
        min_factor: float,
        warmup_epochs: float = 0.0,
        stable_share: float = 0.0,
    ) -> None:
        super().__init__(warmup_epochs)
        self.stable_share = stable_share
        self.end = float(epochs)
        self.min_factor = min_factor
        self.start = 0.0
        self.first_factor = 0.0

    def factor(self, epoch: float) -> float:
        """Factor at a fractional epoch."""
        if (grown := epoch - self.start) < self.warmup_epochs:
            growth = (1 - self.first_factor) * (grown / self.warmup_epochs)
            return self.first_factor + growth
        return self._factor_after_warmup(epoch)

    def _factor_after_warmup(self, epoch: float) -> float:
        first = self.start + self.warmup_epochs
        if self.stable_share:
            first += self.stable_share * (self.end - first)
        length = max(self.end - first, 1e-12)
        progress = min(max((epoch - first) / length, 0.0), 1.0)
        wave = 0.5 * (1 + math.cos(math.pi * progress))
        return self.min_factor + (1 - self.min_factor) * wave

    def end_at(self, end: float, now: float) -> None:
        """Change the last epoch; a warmup too long for it is shortened.

        Args:
            end: Epoch at the end.
            now: Current fractional epoch.
        """
        longest = max(now - self.start, MAX_WARMUP_FRACTION * (end - self.start))
        self.warmup_epochs = min(self.warmup_epochs, longest)
        self.end = end

    def begin_again(self, now: float, end: float) -> None:
        """Restart: warm up from the current factor, then anneal to a new end.

        Args:
            now: Current fractional epoch.
            end: Epoch at the new end.
        """
        self.first_factor = self.factor(now)
        self.start = now
        self.warmup_epochs = min(self.warmup_epochs, MAX_WARMUP_FRACTION * (end - now))
        self.end = end

    def state_dict(self) -> dict[str, Any]:
        """Mutable state; JSON serializable."""
        names = ("start", "first_factor", "warmup_epochs", "end")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; empty in states of earlier versions."""
        if state:
            super().load_state_dict(state)


@final
class Plateau(Schedule):
    """Reduce the learning rate after validations without improvement.

    Args:
        factor: Factor of each reduction.
        patience: Validations without improvement before a reduction.
        min_factor: Lowest factor.
        warmup_epochs: Length of the linear warmup.
    """

    def __init__(
        self,
        factor: float,
        patience: int,
        min_factor: float,
        warmup_epochs: float = 0.0,
    ) -> None:
        super().__init__(warmup_epochs)
        self.fall = factor
        self.patience = patience
        self.min_factor = min_factor
        self.current = 1.0
        self.best: float | None = None
        self.waited = 0

    def _factor_after_warmup(self, epoch: float) -> float:
        return self.current

    def observe(self, loss: float) -> None:
        """Update with a validation loss."""
        if self.best is None or loss < self.best:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.current = max(self.current * self.fall, self.min_factor)
            self.waited = 0

    def state_dict(self) -> dict[str, Any]:
        """Mutable state; JSON serializable."""
        return {"current": self.current, "best": self.best, "waited": self.waited}


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Set the learning rate of all parameter groups, each times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get(LR_FACTOR, 1.0)


def learning_rate_of(optimizer: Optimizer) -> float:
    """Learning rate of the schedule, without factors of parameter groups."""
    group = optimizer.param_groups[0]
    rate: float = group["lr"] / group.get(LR_FACTOR, 1.0)
    return rate
