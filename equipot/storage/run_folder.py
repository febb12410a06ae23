"""Run directories: only one run and one process per directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from equipot.storage.atomic_file import (
    PARTIAL,
    create_file,
    make_folder,
    naming,
    open_regular,
    unused_name,
)

LOCK = ".lock"
CONFIG = "config.yaml"
"""Marker file that every run writes first."""


class RunFolderError(ValueError):
    """The directory cannot be used for this run."""


@contextmanager
def lock_run_directory(folder: Path, *, resume: bool) -> Iterator[None]:
    """Lock a run directory for this process.

    Args:
        folder: Created if missing.
        resume: Whether to resume the run in it; otherwise it must be empty, or contain
            a run that ended before its first checkpoint.

    Raises:
        RunFolderError: If it is not empty, has nothing to resume, or is locked by
            another process.
        OSError: If it cannot be written to.
    """
    if not resume:
        _check_unused(folder)
    elif not (folder / CONFIG).is_file():
        raise RunFolderError(
            f"there is no run in {folder} to resume; start it without --resume"
        )
    make_folder(folder)
    with _lock_file(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunFolderError(
                f"another process is running in {folder}; wait for it, or stop it"
            ) from error
        if not resume:
            _check_unused(folder)
        for leftover in folder.glob(PARTIAL):
            if leftover.is_symlink() or leftover.is_file():
                leftover.unlink()
        with naming(folder):
            _check_writable(folder)
            yield


def _lock_file(folder: Path) -> IO[bytes]:
    """Open the lock file without truncating it."""
    return os.fdopen(open_regular(folder / LOCK, os.O_RDWR | os.O_CREAT), "r+b")


def _check_writable(folder: Path) -> None:
    """Check write access before a long run; the lock file may be writable anyway."""
    probe = unused_name(folder / "probe")
    os.close(create_file(probe))
    probe.unlink()


def _check_unused(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunFolderError(f"{folder} is a file; pass a run directory with --output")
    unfinished = {path.name for path in folder.glob(PARTIAL)}
    names = {path.name for path in folder.iterdir()} - {LOCK} - unfinished
    began = any(name.endswith(".safetensors") for name in names)
    if names and (began or CONFIG not in names):
        raise RunFolderError(
            f"{folder} is not empty; add --resume to continue the run in it, or pass "
            "another directory with --output"
        )
