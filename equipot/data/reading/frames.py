"""Frames of a file: formats that ASE reads, one kind of error, no pickle."""

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
from equipot.data.reading.declared_sizes import refuse_impossible_sizes
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
    "bundletrajectory": "it is a folder of many files",
    "castep-cell": "its reader starts another program",
    "cp2k-dcd": _TRUSTING,
    "gpw": _TRUSTING,
    "lammps-dump-binary": _TRUSTING,
    "mysql": "it is not a file",
    "netcdftrajectory": _TRUSTING,
    "nwchem-in": "its reader can take forever on a broken file",
    "postgresql": "it is not a file",
    "xtd": "its structures are in another file",
}
"""Formats of ASE that are not read, and why."""
LONGEST_MESSAGE = 500


def iterate_frames(path: Path) -> Iterator[Atoms]:
    """Structures of a file in their order, as ASE reads them.

    Rows of an ASE database have their key-value pairs and data in ``atoms.info``.

    Args:
        path: File in a format of ASE, compressed ones included, but those of `REFUSED`.

    Yields:
        One structure per frame.

    Raises:
        DataError: If the file is missing, empty, broken, a pickle, of no known format,
            or declares more than it can hold; the message names the file and the frame.
    """
    format_name = _format(path)
    frames = _frames(path, format_name)
    count = 0
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of ASE's readers; we check ourselves
                atoms = next(frames, None)
        except Exception as error:  # readers of ASE leak any type
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
        raise DataError(f"{path}: holds no structure (read as {format_name})")


def read_frame(path: Path, index: int) -> Atoms | None:
    """One structure of a file, or None if there are not so many.

    Args:
        path: As for `iterate_frames`.
        index: Position in the file; negative numbers count from its end.

    Raises:
        DataError: If the file is broken up to there.
    """
    frames = iterate_frames(path)
    if index >= 0:
        return next(islice(frames, min(index, sys.maxsize - 1), None), None)
    last = deque(frames, maxlen=min(-index, sys.maxsize))
    return last[0] if len(last) == -index else None


def _frames(path: Path, format_name: str) -> Iterator[Atoms]:
    """Structures as the reader of a format gives them."""
    refuse_impossible_sizes(path, format_name)
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
    """Message of a reader, which may quote all of the file."""
    text = str(error)
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]} ..."


def _format(path: Path) -> str:
    """Name of the format in ASE; refuses what could run code."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder, expected a file with structures")
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
            f"{path}: is a pickle, and reading one can run any code; "
            "convert it to extxyz where it comes from"
        )
    if path.suffix == ".traj" and not head.startswith(TRAJECTORY):
        raise DataError(
            f"{path}: is not a trajectory of today's ASE (an old one is a pickle, "
            "and reading it can run any code); convert it to extxyz where it comes "
            "from"
        )
    try:
        name = filetype(str(path))
    except Exception as error:  # decompression leaks any type, too
        raise DataError(
            f"{path}: ASE has no reader for it; convert it to extxyz"
        ) from error
    if name not in ioformats or name == "runnerdata":
        name = "lammps-data" if is_lammps_data(path) else name
    if name not in ioformats or not ioformats[name].can_read:
        raise DataError(
            f"{path}: ASE reads no format {name[:40]!r}; convert it to extxyz"
        )
    if name in REFUSED:
        raise DataError(
            f"{path}: {name} is not read, since {REFUSED[name]}; convert it to extxyz "
            "where it comes from"
        )
    if name in NO_ELEMENTS:
        raise DataError(
            f"{path}: {name} is not read, since {NO_ELEMENTS[name]}; convert it to "
            "extxyz with a column of chemical symbols"
        )
    return "extxyz" if name == "xyz" else name


def _is_pickle(head: bytes) -> bool:
    """Whether a file starts as pickles of protocol 2 and later do."""
    return len(head) > 1 and head[0] == 0x80 and head[1] <= 5
