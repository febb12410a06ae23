"""Logs of a training run: text, CSV table of epochs, TensorBoard."""

import csv
import io
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.markup import escape
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from equipot.storage.atomic_file import (
    NotRegularError,
    append_whole,
    make_folder,
    write_atomically,
)
from equipot.training.observer import Limits, Observer
from equipot.training.progress import Row, TrainingProgress

COLUMNS: Final = (
    "epoch",
    "step",
    "learning_rate",
    "gradient_norm",
    "train_loss",
    "train_energy_mae",
    "train_forces_mae",
    "train_stress_mae",
    "valid_loss",
    "valid_energy_mae",
    "valid_energy_rmse",
    "valid_forces_mae",
    "valid_forces_rmse",
    "valid_stress_mae",
    "valid_stress_rmse",
    "best",
    "seconds",
)
"""Columns of ``metrics.csv``: energies in meV/atom, forces in meV/Å, stress in meV/Å^3.

Training errors are running means over the epoch, while the weights change;
validation errors are of the averaged weights at its end. Losses and the norm of
the gradient are in eV and Å. ``best`` is 1 where the validation loss was the lowest.
"""


class Journal:
    """Messages on the terminal and, with time stamps, in ``train.log``.

    Args:
        path: Log file, which is appended to.
        console: Terminal.
    """

    def __init__(self, path: Path, console: Console) -> None:
        self.path = path
        self.console = console

    def say(self, message: str) -> None:
        """Print and log a message."""
        self._log(message)
        self.console.print(escape(message), highlight=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        """Print and log a warning."""
        self._log(f"WARNING: {message}")
        self.console.print(
            f"[bold yellow]WARNING:[/] {escape(message)}",
            highlight=False,
            soft_wrap=True,
        )

    def show(self, table: RenderableType) -> None:
        """Print and log a table."""
        self.console.print(table)
        text = io.StringIO()
        Console(file=text, width=100).print(table)
        append_whole(self.path, text.getvalue().encode())

    def _log(self, message: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        append_whole(self.path, f"{stamp}  {message}\n".encode())


class StaleResult(Observer):
    """Delete a result of a previous end of the run when training continues.

    Args:
        path: File that would contradict the models of the longer run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_start(self, progress: TrainingProgress, limits: Limits) -> None:
        """Delete the file, unless training is already finished."""
        if progress.finished is None:
            self.path.unlink(missing_ok=True)


class CsvLog(Observer):
    """CSV table with one row per epoch, also over resumed runs.

    Args:
        path: File; it is rewritten from the history when training starts or resumes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_start(self, progress: TrainingProgress, limits: Limits) -> None:
        """Write header and history, dropping rows later than the resumed state."""
        lines = [_csv_line(COLUMNS), *(_csv_row(row) for row in progress.history)]
        write_atomically(self.path, "".join(lines).encode())

    def on_epoch(self, row: Row, errors: dict[str, Any]) -> None:
        """Append a row."""
        append_whole(self.path, _csv_row(row).encode())


class TensorBoardLog(Observer):
    """Curves for TensorBoard.

    Events are written without `SummaryWriter`, whose thread reports a full disk late
    and as a traceback.

    Args:
        directory: Folder for event files.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path: Path | None = None

    def on_start(self, progress: TrainingProgress, limits: Limits) -> None:
        """Start an event file; events after the resumed state are invalidated."""
        if self.directory.is_symlink():
            raise NotRegularError(
                f"cannot write to {self.directory}: it is a symbolic link, which is "
                "not followed: remove it"
            )
        make_folder(self.directory)
        earlier = len(list(self.directory.glob("events.out.tfevents.*")))
        # TensorBoard sorts files by name: the count orders starts within one second
        name = f"{int(time.time()):010d}.{earlier:06d}.{socket.gethostname()}"
        self._path = self.directory / f"events.out.tfevents.{name}"
        self._append(Event(file_version="brain.Event:2"))
        void = SessionLog(status=SessionLog.START)
        self._append(Event(step=progress.step + 1, session_log=void))

    def on_epoch(self, row: Row, errors: dict[str, Any]) -> None:
        """Append a point to every curve."""
        points: dict[str, float] = {}
        for name in COLUMNS[2:]:
            if (value := row.get(name)) is not None:
                points[name.replace("_", "/", 1)] = value
        for symbol, group in errors.get("forces", {}).get("per_element", {}).items():
            points[f"valid/forces_mae_of_{symbol}"] = group["mae"]
        values = [Summary.Value(tag=t, simple_value=v) for t, v in points.items()]
        step = int(row["step"] or 0)
        self._append(Event(step=step, summary=Summary(value=values)))

    def _append(self, event: Event) -> None:
        if self._path is None:
            raise RuntimeError("on_start must come before on_epoch")
        event.wall_time = time.time()
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        append_whole(self._path, record.getvalue())


def _csv_row(row: Row) -> str:
    if unknown := set(row) - set(COLUMNS):
        raise ValueError(f"metrics.csv has no column for {sorted(unknown)}")
    return _csv_line(["" if row.get(n) is None else row[n] for n in COLUMNS])


def _csv_line(values: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
