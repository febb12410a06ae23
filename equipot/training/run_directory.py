"""The directory of a run: who may write to it, and what each file is called."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from equipot.tensor_file import write_atomically
from equipot.training.environment import describe_environment


class RunDirectoryError(ValueError):
    """A directory that a run must not, or cannot, be written to."""


class RunDirectory:
    """Names of the files of a run.

    =====================  ==========================================================
    ``config.yaml``        the configuration with all defaults
    ``model.safetensors``  averaged weights with the lowest validation loss
    ``last.safetensors``   averaged weights of the last validation
    ``state.safetensors``  what a resume needs, raw weights among it; ``state.1`` the
                           generation before
    ``metrics.csv``        one row per epoch
    ``metrics.json``       errors of the best model on all sets, by group and element
    ``train.log``          messages
    ``environment.json``   versions and machine of every start
    ``data.json``          SHA-256 of every file of data
    ``tensorboard/``       curves
    =====================  ==========================================================

    Args:
        path: The directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.best = path / "model.safetensors"
        self.last = path / "last.safetensors"
        self.table = path / "metrics.csv"
        self.metrics = path / "metrics.json"
        self.log = path / "train.log"
        self.environment = path / "environment.json"
        self.data = path / "data.json"
        self.tensorboard = path / "tensorboard"
        self.bad_batch = path / "nonfinite_batch.extxyz"

    def open(self, *, resume: bool) -> None:
        """Make the directory, or check that a run can go on in it.

        Raises:
            RunDirectoryError: If there is something already, or, to resume, nothing.
        """
        if resume:
            if not self.config.is_file():
                raise RunDirectoryError(
                    f"there is no run in {self.path} to resume; start it without "
                    "--resume"
                )
            return
        if self.path.exists() and not self._is_unused():
            raise RunDirectoryError(
                f"{self.path} is not empty; add --resume to go on with the run in it, "
                "or name another directory with --output"
            )
        self.path.mkdir(parents=True, exist_ok=True)

    def _is_unused(self) -> bool:
        """Whether it is empty, or a run in it ended before its first state."""
        if not self.path.is_dir():
            return False
        began = any(self.path.glob("*.safetensors"))
        return not any(self.path.iterdir()) or (self.config.is_file() and not began)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in the directory meanwhile.

        Raises:
            RunDirectoryError: If another process does.
        """
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunDirectoryError(
                    f"another process is training in {self.path}; wait for it, or stop "
                    "it"
                ) from error
            for leftover in self.path.glob(".*.partial"):
                leftover.unlink()
            yield

    def note_environment(self) -> None:
        """Add this start to ``environment.json``."""
        starts = []
        if self.environment.is_file():
            starts = json.loads(self.environment.read_text(encoding="utf-8"))
        write_json(self.environment, [*starts, describe_environment()])


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())
