"""Frames of a file: every format that ASE reads, one kind of error, no pickle."""

import warnings
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import ase.db
from ase import Atoms
from ase.io import iread
from ase.io.extxyz import read_xyz
from ase.io.formats import (
    UnknownFileTypeError,
    filetype,
    ioformats,
    open_with_compression,
)

from equipot.data.errors import DataError

PICKLE_SUFFIXES = {".pkl", ".pickle", ".pckl", ".pt", ".pth"}
DATABASES = {"db", "json", "aselmdb"}


def iterate_frames(path: Path) -> Iterator[Atoms]:
    """Structures of a file in their order, as ASE reads them.

    Rows of an ASE database have their key-value pairs and data in ``atoms.info``.

    Args:
        path: File in any format of ASE, compressed ones included.

    Yields:
        One structure per frame.

    Raises:
        DataError: If the file is missing, empty, broken, a pickle, or of no known
            format; the message names the file and the frame.
    """
    format_name = _format(path)
    if format_name in DATABASES:
        frames = _database_rows(path)
    elif format_name == "extxyz":
        frames = _extxyz_frames(path)
    else:
        frames = iread(str(path), index=":", format=format_name, parallel=False)
    count = 0
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of ASE's readers; we check ourselves
                atoms = next(frames, None)
        except DataError:
            raise
        except Exception as error:  # readers of ASE leak any type
            raise DataError(
                f"{path}#{count}: cannot be read as {format_name}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if atoms is None:
            break
        yield atoms
        count += 1
    if count == 0:
        raise DataError(f"{path}: holds no structure (read as {format_name})")


def _format(path: Path) -> str:
    """Name of the format in ASE; refuses what could run code."""
    if path.is_dir() and path.suffix != ".bundle":
        raise DataError(f"{path}: is a folder, expected a file with structures")
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(16)
        if not head:
            raise DataError(f"{path}: is empty")
        if path.suffix in PICKLE_SUFFIXES or _is_pickle(head):
            raise DataError(
                f"{path}: is a pickle, and reading one can run any code; "
                "convert it to extxyz where it comes from"
            )
        if path.suffix == ".traj" and b"Ulm" not in head:
            raise DataError(
                f"{path}: is not a trajectory of today's ASE (an old one is a pickle, "
                "and reading it can run any code); convert it to extxyz where it comes "
                "from"
            )
    try:
        name = filetype(str(path))
    except (UnknownFileTypeError, UnicodeDecodeError, OSError) as error:
        raise DataError(
            f"{path}: ASE knows no format for it; convert it to extxyz"
        ) from error
    if name not in ioformats or not ioformats[name].can_read:
        raise DataError(f"{path}: ASE reads no format {name!r}; convert it to extxyz")
    return "extxyz" if name == "xyz" else name


def _is_pickle(head: bytes) -> bool:
    """Whether a file starts as pickles of protocol 2 and later do."""
    return len(head) > 1 and head[0] == 0x80 and head[1] <= 5


def _database_rows(path: Path) -> Iterator[Atoms]:
    """Rows of an ASE database with what they carry beside the structure."""
    with ase.db.connect(str(path), serial=True) as database:
        for row in database.select():
            atoms = row.toatoms()
            extra: dict[str, Any] = {**row.key_value_pairs, **row.data}
            atoms.info.update(extra)
            yield atoms


def _extxyz_frames(path: Path) -> Iterator[Atoms]:
    """Frames of an extxyz file, cut out here so that errors can name the line.

    ASE's own reader stops at a blank line and says nothing of what follows it.
    """
    with open_with_compression(str(path), "r") as file:
        line_number, count = 0, 0
        while header := file.readline():
            line_number += 1
            if not header.strip():
                continue
            where = f"{path}#{count}, line {line_number}"
            try:
                num_atoms = int(header)
            except ValueError as error:
                raise DataError(
                    f"{where}: expected a number of atoms, got {header.strip()[:60]!r}"
                ) from error
            block = list(islice(file, num_atoms + 1))
            if num_atoms < 1 or len(block) < num_atoms + 1:
                found = max(len(block) - 1, 0)
                raise DataError(f"{where}: announces {num_atoms} atoms, got {found}")
            try:
                yield next(read_xyz(StringIO(header + "".join(block)), index=0))
            except Exception as error:  # readers of ASE leak any type
                raise DataError(
                    f"{where}: is not extxyz: {type(error).__name__}: {error}"
                ) from error
            line_number += num_atoms + 1
            count += 1
