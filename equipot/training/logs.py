"""Logs of a run: a text file, a table of epochs, TensorBoard."""

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch.utils.tensorboard import SummaryWriter

from equipot.atomic_file import write_atomically
from equipot.training.observer import Limits, Observer
from equipot.training.position import Position, Row

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

Training errors are running means over the epoch, of weights that change meanwhile;
validation errors are those of the averaged weights at its end. Losses and the norm of
the gradient are in eV and Å. ``best`` is 1 where the validation loss was the lowest.
"""


class Journal:
    """Messages on the terminal and, with the time, in ``train.log``.

    Args:
        path: Text file to append to.
        console: Terminal.
    """

    def __init__(self, path: Path, console: Console) -> None:
        self.path = path
        self.console = console

    def say(self, message: str) -> None:
        """Print and note a message."""
        self._note(message)
        self.console.print(escape(message), highlight=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        """Print and note a message that should not be missed."""
        self._note(f"WARNING: {message}")
        self.console.print(
            f"[bold yellow]WARNING:[/] {escape(message)}",
            highlight=False,
            soft_wrap=True,
        )

    def show(self, table: Table) -> None:
        """Print and note a table."""
        self.console.print(table)
        with self.path.open("a", encoding="utf-8") as file:
            Console(file=file, width=100).print(table)

    def _note(self, message: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{stamp}  {message}\n")


class CsvLog(Observer):
    """Table of epochs, one row each; resumed runs have no row twice and none missing.

    Args:
        path: File; it is written anew from the history when training starts or goes on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_start(self, position: Position, limits: Limits) -> None:
        """Write header and history, dropping rows later than the resumed state."""
        lines = [_csv_line(COLUMNS), *(_csv_row(row) for row in position.history)]
        write_atomically(self.path, "".join(lines).encode())

    def on_epoch(self, row: Row, errors: dict[str, Any]) -> None:
        """Append a row."""
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_csv_row(row))


class TensorBoardLog(Observer):
    """Curves for TensorBoard.

    Args:
        directory: Where event files go.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._writer: SummaryWriter | None = None

    def on_start(self, position: Position, limits: Limits) -> None:
        """Open a file; events after the resumed state are marked as void."""
        self._writer = SummaryWriter(
            str(self.directory), purge_step=position.step + 1 if position.step else None
        )

    def on_epoch(self, row: Row, errors: dict[str, Any]) -> None:
        """Add a point to every curve."""
        if self._writer is None:
            raise RuntimeError("on_start must come before on_epoch")
        for name in COLUMNS[2:]:
            if (value := row.get(name)) is not None:
                tag = name.replace("_", "/", 1) if "_" in name else name
                self._writer.add_scalar(tag, value, row["step"])
        for symbol, group in errors.get("forces", {}).get("per_element", {}).items():
            tag = f"valid/forces_mae_of_{symbol}"
            self._writer.add_scalar(tag, group["mae"], row["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


def _csv_row(row: Row) -> str:
    if unknown := set(row) - set(COLUMNS):
        raise ValueError(f"metrics.csv has no column for {sorted(unknown)}")
    return _csv_line(["" if row.get(n) is None else row[n] for n in COLUMNS])


def _csv_line(values: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
