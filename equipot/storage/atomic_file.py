"""Files that are written whole or not at all, and never through a symbolic link."""

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
"""Names of files that are not complete; a process that was killed leaves them."""

SYSTEM = ("/dev", "/proc", "/sys")
"""Folders of devices and of the kernel; /dev/shm is memory that takes files."""


class NotRegularError(OSError):
    """A place to write to holds a link, a folder, a device or a pipe."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step, after its content has reached the disk.

    A symbolic link of that name is replaced; what it leads to stays as it is.

    Raises:
        NotRegularError: If the name is that of a folder, a device or a pipe.
        OSError: If writing fails; names the file, of which the old content is still
            there.
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
        NotRegularError: If the file is a symbolic link or no regular file.
        OSError: If that fails; names the file, which is as long as it was before.
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


def create_file(path: Path) -> int:
    """Make a file that was not there, and open it for writing.

    Returns:
        Its descriptor.

    Raises:
        FileExistsError: If there is something of that name, a dangling link included.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o666)


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file, and nothing that a link of its name leads to.

    Args:
        path: The file.
        flags: Of `os.open`, such as ``os.O_RDWR``; the file is never truncated.

    Returns:
        Its descriptor.

    Raises:
        NotRegularError: If it is a symbolic link, a folder, a device or a pipe.
        OSError: If it cannot be opened.
    """
    # A pipe without a reader would block without O_NONBLOCK, which files ignore.
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
    """Reject a name that a file must not take.

    Raises:
        NotRegularError: If it is that of a folder, a device or a pipe, of a link to
            a device or a pipe, or of what the system keeps in /dev, /proc and /sys.
    """
    _check_not_of_the_system(path)
    try:
        present = os.lstat(path).st_mode
        if stat.S_ISLNK(present):
            present = os.stat(path).st_mode
            replaceable = stat.S_ISREG(present) or stat.S_ISDIR(present)
        else:
            replaceable = stat.S_ISREG(present)
    except FileNotFoundError:  # nothing there, or a link that leads nowhere
        return
    if not replaceable:
        raise _not_regular(path)


def check_can_be_made(path: Path, *, folder: bool) -> None:
    """Reject a file or folder that cannot be made, before hours of computing.

    Args:
        path: It need not exist, and nor need the folders around it.
        folder: Whether a folder will be made, or a file.

    Raises:
        OSError: If the nearest folder that exists cannot be written to, or `path` is
            a file where a folder is wanted, or the other way around.
    """
    _check_not_of_the_system(path)
    if folder and path.is_file():
        raise NotADirectoryError(
            f"cannot write {path}: it is a file; name a folder, which will be made"
        )
    if not folder and path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; name a file")
    around = path.absolute()
    if not around.is_dir():
        around = around.parent
    while not os.path.lexists(around):
        around = around.parent
    if not around.is_dir():
        raise NotADirectoryError(f"cannot write {path}: {around} is a file")
    if not os.access(around, os.W_OK | os.X_OK):
        read_only = os.statvfs(around).f_flag & os.ST_RDONLY
        reason = (
            "is on a read-only file system" if read_only else "cannot be written to"
        )
        raise PermissionError(
            f"cannot write {path}: the folder {around} {reason}; name another place"
        )
    if not path.is_dir():
        check_replaceable(path)


def unused_name(path: Path) -> Path:
    """Name for a file on its way to `path`, which nobody can foresee."""
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.partial")


def make_folder(folder: Path) -> None:
    """Make a folder and those around it, unless they are there.

    Raises:
        OSError: If that fails; names the folder that was asked for.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if isinstance(error, FileExistsError | NotADirectoryError):
            reason = "a part of the path is a file"
        raise OSError(
            error.errno, f"cannot make the folder: {reason}", str(folder)
        ) from error


def _check_not_of_the_system(path: Path) -> None:
    places = (path.absolute(), *path.absolute().parents)
    if any(Path(f) in places for f in SYSTEM) and Path("/dev/shm") not in places:
        raise NotRegularError(
            f"cannot write {path}: {', '.join(SYSTEM)} hold no files of users; name "
            "another place"
        )


def _not_regular(path: Path) -> NotRegularError:
    if path.is_symlink():
        reason = "a symbolic link, and nothing is written through links: remove it"
    elif path.is_dir():
        reason = "a folder: remove it"
    else:
        reason = "a device or a pipe"
    return NotRegularError(f"cannot write {path}: it is {reason}, or name another")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file or folder in errors of the system that name none, as a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
