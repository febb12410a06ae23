"""Read the frames of a file in any format supported by ASE, except unsafe ones."""

import sys
import warnings
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ase import Atoms
from ase.io import iread
from ase.io.formats import filetype, ioformats

from equipot.data.reading.announced_atoms import refuse_missing_atoms
from equipot.data.reading.databases import database_rows
from equipot.data.reading.declared_sizes import check_declared_sizes
from equipot.data.reading.elements_in_files import (
    NO_ELEMENTS,
    check_frame,
    is_lammps_data,
    reader_options,
)
from equipot.data.reading.errors import DataError
from equipot.data.reading.extxyz import extxyz_frames
from equipot.system.paths import located

PICKLE_SUFFIXES = {".pkl", ".pickle", ".pckl", ".pt", ".pth"}
TRAJECTORY = (b"- of Ulm", b"AFFormat")
DATABASES = {"db", "json", "aselmdb"}
_TRUSTING = "its reader trusts declared sizes without a check"
REFUSED = {
    "abinit-gsr": _TRUSTING,
    "bundletrajectory": "it is a directory of many files",
    "castep-cell": "its reader starts another program",
    "cp2k-dcd": _TRUSTING,
    "gpw": _TRUSTING,
    "lammps-dump-binary": _TRUSTING,
    "mysql": "it is not a file",
    "netcdftrajectory": _TRUSTING,
    "nwchem-in": "its reader may not terminate on an invalid file",
    "postgresql": "it is not a file",
    "xtd": "its structures are in another file",
}
"""ASE formats that are rejected, and why."""
MAX_MESSAGE_LENGTH = 500


def iterate_frames(path: Path) -> Iterator[Atoms]:
    """Frames of a file in order, as read by ASE.

    Key-value pairs and data of ASE databases are in ``atoms.info``.

    Args:
        path: File in an ASE format, possibly compressed, except those in `REFUSED`.

    Yields:
        One structure per frame.

    Raises:
        DataError: If the file is missing, empty, invalid, a pickle, of an unknown
            format, or declares more data than it contains; the message has the file
            and the frame.
    """
    format_name = _format(path)
    frames = _frames(path, format_name)
    count = 0
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # from ASE; the content is checked
                atoms = next(frames, None)
        except Exception as error:  # readers of ASE raise any type
            if isinstance(error, DataError) and str(error).startswith(str(path)):
                raise
            kind = "" if isinstance(error, DataError) else f"{type(error).__name__}: "
            raise DataError(
                f"{path}#{count}: cannot be read as {format_name}: {kind}"
                f"{_short(error)}"
            ) from error
        if atoms is None:
            break
        yield atoms
        count += 1
    if count == 0:
        raise DataError(f"{path}: contains no structure (read as {format_name})")


def read_frame(path: Path, index: int) -> Atoms | None:
    """Read one frame of a file; None if the file has fewer frames.

    Args:
        path: As in `iterate_frames`.
        index: Index of the frame; negative numbers count from the end.

    Raises:
        DataError: If the file is invalid before the end of that frame.
    """
    frames = iterate_frames(path)
    if index >= 0:
        return next(islice(frames, min(index, sys.maxsize - 1), None), None)
    last = deque(frames, maxlen=min(-index, sys.maxsize))
    return last[0] if len(last) == -index else None


def _frames(path: Path, format_name: str) -> Iterator[Atoms]:
    """Frames from the reader of a format."""
    check_declared_sizes(path, format_name)
    refuse_missing_atoms(path, format_name)
    if format_name in DATABASES:
        frames = database_rows(path)
    elif format_name == "extxyz":
        frames = extxyz_frames(path)
    else:
        frames = iread(
            str(path),
            index=":",
            format=format_name,
            parallel=False,
            do_not_split_by_at_sign=True,
            **reader_options(path, format_name),
        )
    for atoms in frames:
        yield check_frame(atoms, format_name)


def _short(error: Exception) -> str:
    """Truncated message of a reader, which may quote the whole file."""
    text = str(error)
    return (
        text if len(text) <= MAX_MESSAGE_LENGTH else f"{text[:MAX_MESSAGE_LENGTH]} ..."
    )


def _format(path: Path) -> str:
    """ASE format of a file; rejects formats that could execute code."""
    if path.is_dir():
        raise DataError(f"{path}: is a directory, expected a file with structures")
    if not path.exists():
        raise DataError(f"no such file: {located(path)}")
    if not path.is_file():
        raise DataError(f"{path}: is a device, expected a file with structures")
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise DataError(f"{path}: is empty")
    if path.suffix in PICKLE_SUFFIXES or _is_pickle(head):
        raise DataError(
            f"{path}: is a pickle, and reading a pickle can execute any code; "
            "convert it to extxyz with the program that wrote it"
        )
    if path.suffix == ".traj" and not head.startswith(TRAJECTORY):
        raise DataError(
            f"{path}: is not a trajectory of a current ASE version (old ones are "
            "pickles, and reading a pickle can execute any code); convert it to extxyz "
            "from"
        )
    try:
        name = filetype(str(path))
    except Exception as error:  # decompression raises any type as well
        raise DataError(
            f"{path}: ASE has no reader for it; convert it to extxyz"
        ) from error
    if name not in ioformats or name == "runnerdata":
        name = "lammps-data" if is_lammps_data(path) else name
    if name not in ioformats or not ioformats[name].can_read:
        raise DataError(
            f"{path}: ASE has no reader for format {name[:40]!r}; convert it to extxyz"
        )
    if name in REFUSED:
        raise DataError(
            f"{path}: {name} is not supported: {REFUSED[name]}; convert it to extxyz "
            "with the program that wrote it"
        )
    if name in NO_ELEMENTS:
        raise DataError(
            f"{path}: {name} is not supported: {NO_ELEMENTS[name]}; convert it to "
            "extxyz with a column of chemical symbols"
        )
    return "extxyz" if name == "xyz" else name


def _is_pickle(head: bytes) -> bool:
    """Whether a file starts like a pickle of protocol 2 or later."""
    return len(head) > 1 and head[0] == 0x80 and head[1] <= 5
