"""NumPy archives whose array headers are checked before the data are read."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Final
from zipfile import ZipFile, ZipInfo

import numpy as np

from equipot.data.reading.errors import DataError

MAX_NAME_LENGTH: Final = 1000
"""Maximum number of characters in the name of an entry."""
MAX_BRACKETS: Final = 50
"""Maximum number of brackets in the header of an array, which has two; many exhaust
Python's parser."""
MAX_HEADER_BYTES: Final = 10_000
"""Maximum size of the header of an array; NumPy refuses longer ones."""


@contextmanager
def opened(path: Path, named_by: str = "") -> Iterator[ZipFile]:
    """Open an archive; any error of its parser becomes a `DataError`.

    Args:
        path: File of arrays.
        named_by: Text that explains where the path was set, for messages.

    Yields:
        The opened archive.

    Raises:
        DataError: If it is missing or cannot be read.
    """
    try:
        with ZipFile(path) as archive:
            yield archive
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file{named_by}") from error
    except Exception as error:  # from zip, decompression, or NumPy's header
        raise DataError(
            f"{path}: cannot be read as .npz: {type(error).__name__}: "
            f"{str(error)[:300]}"
        ) from error


def members(archive: ZipFile, path: Path) -> dict[str, ZipInfo]:
    """Members of an archive by name of the entry.

    Raises:
        DataError: If two entries have the same name, or a name is not printable.
    """
    found: dict[str, ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in found:
            raise DataError(f"{path}: has two entries {name[:60]!r}")
        if len(name) > MAX_NAME_LENGTH or not name.isprintable():
            raise DataError(f"{path}: has an entry with the name {name[:60]!r}")
        found[name] = member
    return found


def header(archive: ZipFile, member: ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    """Declared shape and type of an array.

    Raises:
        ValueError: If it is not an array, or a record array.
    """
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in READERS:
            raise ValueError(
                f"format version {version} of the format is for record arrays"
            )
        size, read = READERS[version]
        length = file.read(size)
        text = file.read(min(int.from_bytes(length, "little"), MAX_HEADER_BYTES))
    if sum(map(text.count, (b"(", b"[", b"{"))) > MAX_BRACKETS:
        raise ValueError("the header of an array has too many brackets")
    shape, _, dtype = read(BytesIO(length + text))
    return shape, dtype


READERS: Final = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}
"""Bytes of the length of a header, and its reader, by version of the format."""
