"""Files that are written whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIAL = ".*.partial"
"""Names of files that are not complete; a process that was killed leaves them."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step, after its content has reached the disk.

    Raises:
        OSError: If that fails; names the file, of which the old content is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        # A full disk does not say which file it has no room for.
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def append_whole(path: Path, content: bytes) -> None:
    """Append a row, a frame or a message in one step, so that readers see all of it.

    Args:
        path: File to append to; made if missing.
        content: What it grows by.

    Raises:
        OSError: If that fails; names the file, which is as long as it was before.
    """
    with naming(path), path.open("ab", buffering=0) as file:
        start = os.fstat(file.fileno()).st_size
        try:
            written = 0
            while written < len(content):
                written += file.write(content[written:])
        except OSError:
            os.ftruncate(file.fileno(), start)
            raise


def sync_file(path: Path) -> int:
    """Force all that was written to a file onto the disk; its length in bytes."""
    with naming(path), path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def sync_folder(folder: Path) -> None:
    """Force new names of files in a folder onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file or folder in errors of the system that name none, as a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
