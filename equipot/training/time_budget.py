"""How many epochs fit a time budget, and what a run plans whose end has moved."""

import math
from typing import Final

from equipot.training.observer import Limits
from equipot.training.position import Position
from equipot.training.schedule import Cosine, Schedule

SAFETY: Final = 0.95
"""Share of a time budget that is planned for; the rest is for slower epochs."""
DECISION: Final = 0.2
"""Share of a time budget after which the plan is made, if an epoch takes longer."""
WHOLE: Final = 20
"""Epochs from which on the plan ends with a whole one."""
ROUNDING: Final = 1e-9
"""Tolerance of a number of epochs."""


def epochs_within(budget: float, spent: float, progress: float) -> float:
    """Epochs that a time budget allows, to judge by those that are done.

    Args:
        budget: Time for all of the run in s.
        spent: Time that the run has taken in s.
        progress: Epochs that it has done meanwhile.

    Returns:
        Number of epochs, at least those that are done.
    """
    allowed = progress * SAFETY * budget / max(spent, 1e-9)
    step = 1 if allowed >= WHOLE else 100
    return max(math.floor(step * allowed) / step, progress)


def plan_is_due(position: Position, limits: Limits) -> bool:
    """Whether there is a time budget, enough is known of the speed, and no plan yet."""
    if limits.max_seconds is None or position.budget is not None:
        return False
    return position.epoch >= 1 or position.seconds >= DECISION * limits.max_seconds


def make_plan(
    position: Position, schedule: Schedule, limits: Limits, progress: float
) -> str | None:
    """Let the learning rate end within the time budget; decided once in a run.

    Args:
        position: Gets the budget and the number of epochs.
        schedule: Ends earlier if all epochs would take too long.
        limits: Epochs and time that were asked for.
        progress: Epochs that are done.

    Returns:
        What was decided, for people; None if the budget is enough.
    """
    budget = limits.max_seconds
    if budget is None:
        return None
    position.budget = budget
    allowed = epochs_within(budget, position.seconds, progress)
    if allowed >= limits.epochs:
        return None
    total = duration(position.seconds / progress * limits.epochs)
    text = (
        f"{limits.epochs} epochs would take about {total}, the time budget is "
        f"{duration(budget)}: "
    )
    if not isinstance(schedule, Cosine):
        return (
            f"{text}the run will be stopped at about epoch {allowed:g}. The schedule "
            "has no end to be fitted to it; training.schedule.kind: cosine has"
        )
    position.planned = allowed
    schedule.end_at(allowed, progress)
    return (
        f"{text}the run is fitted to {allowed:g} epochs, and the learning rate falls "
        "to its end by then"
    )


def is_planned_end(position: Position, progress: float) -> bool:
    """Whether all epochs that the time budget was found to allow are done."""
    return position.planned is not None and progress >= position.planned - ROUNDING


def replan(
    position: Position,
    schedule: Schedule,
    before: Limits,
    limits: Limits,
    progress: float,
) -> str | None:
    """Move the end of a resumed run, where other epochs or another time are asked for.

    A run whose learning rate has fallen to its end begins a new schedule; another one
    goes on with its own, which then ends elsewhere.

    Args:
        position: As it was saved; gets the new plan.
        schedule: As it was saved; gets the new end.
        before: Limits that the run had.
        limits: Those that it has now.
        progress: Epochs that are done.

    Returns:
        What changes, for people; None if nothing does.

    Raises:
        ValueError: If the run has more epochs already, or no time left for others.
    """
    if limits.epochs != before.epochs:
        _check_longer(position, limits, progress)
    elif limits.max_seconds == before.max_seconds:
        return None
    ended = position.finished is not None
    if ended:
        position.finished, position.waited = None, 0
    position.budget = position.planned = None
    end = float(limits.epochs)
    if limits.max_seconds is not None and progress >= 1:
        position.budget = limits.max_seconds
        end = min(end, epochs_within(limits.max_seconds, position.seconds, progress))
    if not isinstance(schedule, Cosine):
        return f"the run now ends after {limits.epochs} epochs"
    if end < limits.epochs:
        position.planned = end
    if end == schedule.end or progress == 0:
        return None
    if progress >= schedule.end - ROUNDING:
        if end <= progress + ROUNDING:
            return None
        schedule.begin_again(progress, end)
        return (
            f"the run was finished at epoch {progress:g}: a new schedule begins, the "
            f"learning rate rises again and falls until epoch {end:g}"
        )
    schedule.end_at(end, progress)
    return f"the learning rate now falls until epoch {end:g}"


def _check_longer(position: Position, limits: Limits, progress: float) -> None:
    if limits.epochs <= progress:
        raise ValueError(
            f"training.epochs is {limits.epochs}, but the run has {progress:g} epochs "
            "already; ask for more of them"
        )
    budget = limits.max_seconds
    if budget is not None and position.seconds >= SAFETY * SAFETY * budget:
        raise ValueError(
            f"the run has taken {duration(position.seconds)} of its time budget, "
            f"{duration(budget)}: there is no time for more epochs; raise "
            "training.max_minutes as well, or set it to null"
        )


def not_annealed(schedule: Schedule, progress: float) -> str | None:
    """Warning about a run that ended while its learning rate was high, or None."""
    if not isinstance(schedule, Cosine):
        return None
    factor = schedule.factor(progress)
    if factor - schedule.min_factor < 0.1 * (1 - schedule.min_factor):
        return None
    return (
        f"the time budget ended the run at epoch {progress:.4g} of {schedule.end:g} "
        f"with {factor:.0%} of the highest learning rate: the errors would be lower at "
        "the end of the schedule; go on with --resume and a larger training.max_minutes"
    )


def duration(seconds: float) -> str:
    """Time in words, to two digits or so: ``"2 h 46 min"``."""
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours / 24:.1f} days"
