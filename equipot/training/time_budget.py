"""Number of epochs within a time budget, and changes of the length of a run."""

import math
from typing import Final

from equipot.training.observer import Limits
from equipot.training.progress import TrainingProgress
from equipot.training.schedule import Cosine, Schedule

PLANNED_FRACTION: Final = 0.95
"""Fraction of the time budget to plan for; the rest is a margin."""
DECISION_FRACTION: Final = 0.2
"""Fraction of the time budget after which to plan, if within the first epoch."""
MIN_WHOLE_EPOCHS: Final = 20
"""Minimum number of epochs for rounding to whole epochs."""
EPOCH_TOLERANCE: Final = 1e-9
"""Rounding tolerance of a number of epochs."""


def epochs_within(budget: float, spent: float, fractional_epoch: float) -> float:
    """Number of epochs within a time budget, from the speed so far.

    Args:
        budget: Time budget of the whole run in s.
        spent: Training time so far in s.
        fractional_epoch: Epochs trained in that time.

    Returns:
        Number of epochs, at least `fractional_epoch`.
    """
    allowed = fractional_epoch * PLANNED_FRACTION * budget / max(spent, 1e-9)
    step = 1 if allowed >= MIN_WHOLE_EPOCHS else 100
    return max(math.floor(step * allowed) / step, fractional_epoch)


def plan_is_due(progress: TrainingProgress, limits: Limits) -> bool:
    """Whether there is a time budget without a plan, and the speed is known."""
    if limits.max_seconds is None or progress.budget is not None:
        return False
    return (
        progress.epoch >= 1
        or progress.seconds >= DECISION_FRACTION * limits.max_seconds
    )


def make_plan(
    progress: TrainingProgress,
    schedule: Schedule,
    limits: Limits,
    fractional_epoch: float,
) -> str | None:
    """Fit the schedule to the time budget; done once in a run.

    Args:
        progress: Receives the budget and the number of epochs.
        schedule: Shortened if all epochs would take too long.
        limits: Configured epochs and time budget.
        fractional_epoch: Epochs trained so far.

    Returns:
        Message about the plan; None if the budget is sufficient.
    """
    budget = limits.max_seconds
    if budget is None:
        return None
    progress.budget = budget
    allowed = epochs_within(budget, progress.seconds, fractional_epoch)
    if allowed >= limits.epochs:
        return None
    total = duration(progress.seconds / fractional_epoch * limits.epochs)
    text = (
        f"{limits.epochs} epochs would take about {total}, the time budget is "
        f"{duration(budget)}: "
    )
    if not isinstance(schedule, Cosine):
        return (
            f"{text}the run will be stopped at about epoch {allowed:g}. Only "
            "training.schedule.kind: cosine is adapted to the budget"
        )
    progress.planned = allowed
    schedule.end_at(allowed, fractional_epoch)
    return f"{text}the learning-rate schedule is shortened to {allowed:g} epochs"


def is_planned_end(progress: TrainingProgress, fractional_epoch: float) -> bool:
    """Whether the epochs planned within the time budget are complete."""
    return (
        progress.planned is not None
        and fractional_epoch >= progress.planned - EPOCH_TOLERANCE
    )


def replan(
    progress: TrainingProgress,
    schedule: Schedule,
    before: Limits,
    limits: Limits,
    fractional_epoch: float,
) -> str | None:
    """Apply a changed number of epochs or time budget to a resumed run.

    A run with a completed schedule starts a new one; otherwise its schedule is extended
    or shortened.

    Args:
        progress: Saved progress; receives the new plan.
        schedule: Saved schedule; receives the new end.
        before: Limits of the saved run.
        limits: New limits.
        fractional_epoch: Epochs trained so far.

    Returns:
        Message about the change; None if nothing changes.

    Raises:
        ValueError: If the run already has that many epochs, or no time left.
    """
    if limits.epochs != before.epochs:
        _check_longer(progress, limits, fractional_epoch)
    elif limits.max_seconds == before.max_seconds:
        return None
    ended = progress.finished is not None
    if ended:
        progress.finished, progress.waited = None, 0
    progress.budget = progress.planned = None
    end = float(limits.epochs)
    if limits.max_seconds is not None and fractional_epoch >= 1:
        progress.budget = limits.max_seconds
        end = min(
            end, epochs_within(limits.max_seconds, progress.seconds, fractional_epoch)
        )
    if not isinstance(schedule, Cosine):
        return f"the run now ends after {limits.epochs} epochs"
    if end < limits.epochs:
        progress.planned = end
    if end == schedule.end or fractional_epoch == 0:
        return None
    if fractional_epoch >= schedule.end - EPOCH_TOLERANCE:
        if end <= fractional_epoch + EPOCH_TOLERANCE:
            return None
        schedule.begin_again(fractional_epoch, end)
        return (
            f"the run was finished at epoch {fractional_epoch:g}: a new schedule "
            f"begins, the learning rate rises again and falls until epoch {end:g}"
        )
    schedule.end_at(end, fractional_epoch)
    return f"the learning rate now falls until epoch {end:g}"


def _check_longer(
    progress: TrainingProgress, limits: Limits, fractional_epoch: float
) -> None:
    if limits.epochs <= fractional_epoch:
        raise ValueError(
            f"training.epochs is {limits.epochs}, but the run already has "
            f"{fractional_epoch:g} epochs; set a larger number"
        )
    budget = limits.max_seconds
    if (
        budget is not None
        and progress.seconds >= PLANNED_FRACTION * PLANNED_FRACTION * budget
    ):
        raise ValueError(
            f"the run has used {duration(progress.seconds)} of its time budget, "
            f"{duration(budget)}: there is no time for more epochs; raise "
            "training.max_minutes as well, or set it to null"
        )


def not_annealed(schedule: Schedule, fractional_epoch: float) -> str | None:
    """Warning if training ended at a high learning rate, else None."""
    if not isinstance(schedule, Cosine):
        return None
    factor = schedule.factor(fractional_epoch)
    if factor - schedule.min_factor < 0.1 * (1 - schedule.min_factor):
        return None
    return (
        f"the time budget ended the run at epoch {fractional_epoch:.4g} of "
        f"{schedule.end:g} with {factor:.0%} of the highest learning rate: the errors "
        "would be lower at the end of the schedule; resume with --resume and a larger "
        "training.max_minutes"
    )


def duration(seconds: float) -> str:
    """Rounded duration as text, such as ``"2 h 46 min"``."""
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours / 24:.1f} days"
