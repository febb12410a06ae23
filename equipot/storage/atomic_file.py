"""Atomic file writes that do not follow symbolic links."""

import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIAL = ".*.partial"
"""Pattern of temporary files; a killed process leaves them behind."""

SYSTEM = ("/dev", "/proc", "/sys")
"""Directories of devices and of the kernel; files in /dev/shm are allowed."""


class NotRegularError(OSError):
    """The path is a link, a directory, a device or a pipe, not a regular file."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step, after the new content has been flushed to disk.

    A symbolic link at `path` is replaced; its target is unchanged.

    Raises:
        NotRegularError: If `path` is a directory, a device or a pipe.
        OSError: If writing fails; the message names the file, whose old content is
            kept.
    """
    check_replaceable(path)
    temporary = unused_name(path)
    try:
        try:
            with os.fdopen(create_file(temporary), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        # The error for a full disk does not contain the file name
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def append_whole(path: Path, content: bytes) -> None:
    """Append a row, a frame or a message in one step, so that no reader sees a part.

    Args:
        path: File; created if missing.
        content: Bytes to append.

    Raises:
        NotRegularError: If the file is a symbolic link or no regular file.
        OSError: If writing fails; the message names the file, whose size is restored.
    """
    appending = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with naming(path), os.fdopen(open_regular(path, appending), "ab", 0) as file:
        start = os.fstat(file.fileno()).st_size
        try:
            written = 0
            while written < len(content):
                written += file.write(content[written:])
        except OSError:
            os.ftruncate(file.fileno(), start)
            raise


def sync_file(path: Path) -> int:
    """Flush a file to disk and return its size in bytes."""
    with naming(path), path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def sync_folder(folder: Path) -> None:
    """Flush the entries of a directory to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_file(path: Path) -> int:
    """Create a new file and open it for writing.

    Returns:
        File descriptor.

    Raises:
        FileExistsError: If the path exists, including a dangling link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o666)


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file without following symbolic links.

    Args:
        path: Path of the file.
        flags: Flags of `os.open`, such as ``os.O_RDWR``; the file is never truncated.

    Returns:
        File descriptor.

    Raises:
        NotRegularError: If it is a symbolic link, a directory, a device or a pipe.
        OSError: If it cannot be opened.
    """
    # Without O_NONBLOCK, opening a pipe without a reader would block
    flags = (flags & ~os.O_TRUNC) | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise _not_regular(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(path)
    return descriptor


def check_replaceable(path: Path) -> None:
    """Reject a path that must not be replaced by a file.

    Raises:
        NotRegularError: If it is a directory, a device or a pipe, a link to a device
            or a pipe, or inside of /dev, /proc or /sys.
    """
    _check_not_of_the_system(path)
    try:
        present = os.lstat(path).st_mode
        if stat.S_ISLNK(present):
            present = os.stat(path).st_mode
            replaceable = stat.S_ISREG(present) or stat.S_ISDIR(present)
        else:
            replaceable = stat.S_ISREG(present)
    except FileNotFoundError:  # missing, or a dangling link
        return
    if not replaceable:
        raise _not_regular(path)


def check_can_be_made(path: Path, *, folder: bool) -> None:
    """Reject a file or directory that cannot be created, before a long computation.

    Args:
        path: Path; neither it nor its parent directories need to exist.
        folder: Whether a directory will be created, or a file.

    Raises:
        OSError: If the closest existing parent directory is not writable, or `path` is
            a file instead of a directory, or vice versa.
    """
    _check_not_of_the_system(path)
    if folder and path.is_file():
        raise NotADirectoryError(
            f"cannot write {path}: it is a file; name a new directory"
        )
    if not folder and path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a directory; name a file")
    around = path.absolute()
    if not around.is_dir():
        around = around.parent
    while not os.path.lexists(around):
        around = around.parent
    if not around.is_dir():
        raise NotADirectoryError(f"cannot write {path}: {around} is a file")
    if not os.access(around, os.W_OK | os.X_OK):
        read_only = os.statvfs(around).f_flag & os.ST_RDONLY
        reason = "is on a read-only file system" if read_only else "is not writable"
        raise PermissionError(
            f"cannot write {path}: the directory {around} {reason}; use another"
        )
    if not path.is_dir():
        check_replaceable(path)


def unused_name(path: Path) -> Path:
    """Unpredictable temporary name beside `path`."""
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.partial")


def make_folder(folder: Path) -> None:
    """Create a directory and its parents, if missing.

    Raises:
        OSError: If that fails; the message names the directory.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if isinstance(error, FileExistsError | NotADirectoryError):
            reason = "a parent is a file"
        raise OSError(
            error.errno, f"cannot create the directory: {reason}", str(folder)
        ) from error


def _check_not_of_the_system(path: Path) -> None:
    places = (path.absolute(), *path.absolute().parents)
    if any(Path(f) in places for f in SYSTEM) and Path("/dev/shm") not in places:
        raise NotRegularError(
            f"cannot write {path}: {', '.join(SYSTEM)} are not for user files; choose "
            "another place"
        )


def _not_regular(path: Path) -> NotRegularError:
    if path.is_symlink():
        reason = "a symbolic link, which is not followed: remove it"
    elif path.is_dir():
        reason = "a directory: remove it"
    else:
        reason = "a device or a pipe"
    return NotRegularError(f"cannot write {path}: it is {reason}, or name another")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the path to operating-system errors without one, such as a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
