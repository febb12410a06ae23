"""Progress output: a live bar on a terminal, plain lines elsewhere."""

import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from equipot.evaluation.metrics import UNITS
from equipot.training.logs import Journal
from equipot.training.observer import Limits, Observer
from equipot.training.progress import Row, TrainingProgress
from equipot.training.step import StepResult

REDRAW_SECONDS = 0.2


class ProgressBar(Observer):
    """Progress bar with throughput, remaining time and current errors.

    On a terminal the bar is live, and a line is printed for each new best model;
    elsewhere a line is printed for each epoch.

    Args:
        journal: Log for the lines.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._live = journal.console.is_terminal
        self._bar: Progress | None = None
        self._limits = Limits(epochs=1)
        self._rate = _Rate()
        self._errors = ""
        self._drawn = 0.0

    def on_start(self, progress: TrainingProgress, limits: Limits) -> None:
        """Show the bar."""
        self._limits = limits
        self._rate = _Rate()
        if not self._live:
            return
        self._bar = _bar(self.journal.console)
        self._bar.add_task("", total=limits.epochs, completed=progress.epoch, info="")
        self._bar.start()

    def on_step(
        self, progress: TrainingProgress, num_batches: int, result: StepResult
    ) -> None:
        """Update the bar, a few times per second."""
        prediction = result.prediction
        self._rate.count(len(prediction.energy), len(prediction.energies))
        now = time.monotonic()
        if self._bar is None or now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        completed = progress.epoch + progress.batch / num_batches
        info = f"loss {result.loss:.3g}  {self._rate.per_second}/s{self._errors}"
        self._bar.update(self._bar.task_ids[0], completed=completed, info=info)

    def on_epoch(self, row: Row, errors: dict[str, Any]) -> None:
        """Print a line; on a terminal only for a new best model."""
        line = describe(row, self._limits.epochs)
        self._errors = _short_errors(row) or self._errors
        if self._live and not row.get("best"):
            return
        self.journal.say(f"{line}  {self._rate}")

    def on_note(self, message: str) -> None:
        """Print a line."""
        self.journal.say(message)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()


def describe(row: Row, epochs: int) -> str:
    """Summary of an epoch: losses, validation errors, whether it is the best."""
    parts = [f"epoch {row['epoch']:g}/{epochs}", f"loss {row['train_loss']:.4g}"]
    if row.get("valid_loss") is not None:
        parts += [f"valid {row['valid_loss']:.4g}", _errors(row)]
    if row.get("best"):
        parts.append("best")
    return "  ".join(parts)


def _errors(row: Row) -> str:
    return "  ".join(
        f"{name} {row[f'valid_{name}_mae']:.4g} {unit}"
        for name, unit in UNITS.items()
        if row.get(f"valid_{name}_mae") is not None
    )


def _short_errors(row: Row) -> str:
    """Validation errors in meV and Å for the bar; empty without a validation."""
    values = [
        f"{letter} {row[key]:.3g}"
        for letter, key in (("E", "valid_energy_mae"), ("F", "valid_forces_mae"))
        if row.get(key) is not None
    ]
    return f"  valid {' '.join(values)} meV" if values else ""


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(bar_width=16),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[info]}"),
        console=console,
        transient=True,
    )


class _Rate:
    """Steps, structures and atoms per second since construction, and use of cores."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._cpu_start = time.process_time()
        self._steps = 0
        self._structures = 0
        self._atoms = 0

    def count(self, structures: int, atoms: int) -> None:
        self._steps += 1
        self._structures += structures
        self._atoms += atoms

    @property
    def per_second(self) -> str:
        """Structures per second."""
        return f"{self._structures / self._elapsed:.3g}"

    @property
    def _elapsed(self) -> float:
        return max(time.monotonic() - self._start, 1e-9)

    def __str__(self) -> str:
        elapsed = self._elapsed
        per_step = 1000 * elapsed / max(self._steps, 1)
        cores = (time.process_time() - self._cpu_start) / elapsed
        return (
            f"{self.per_second} structures/s, {self._atoms / elapsed:.3g} atoms/s, "
            f"{per_step:.3g} ms/step, {cores:.2g} cores"
        )
