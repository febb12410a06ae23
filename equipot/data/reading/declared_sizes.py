"""Compare declared sizes with the file size before a parser allocates memory.

The readers of ASE allocate whatever size a file declares.
"""

import math
import re
import struct
from collections.abc import Callable, Iterator
from itertools import pairwise, takewhile
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase.io.formats import get_compression, open_with_compression

from equipot.data.reading.errors import DataError
from equipot.storage.nesting import load_json

MAX_DECOMPRESSION_RATIO = 250
"""Decompression ratio above which a file is rejected; repetitive text of structures
reaches 100."""
MAX_UNCHECKED_BYTES = 64 * 2**20
"""Bytes after decompression that are accepted with any ratio."""
INTEGER = re.compile(r"[-+]?[\d_]+")
MAX_LINE_LENGTH = 2**22
"""Maximum number of bytes per line of text formats."""
ANY_LENGTH = {"aselmdb", "cjson", "db", "extxyz", "json", "nomad-json", "traj"}
"""Formats that are not text lines, or whose readers limit the lines themselves."""
NUMERIC = re.compile(r"bool_?|u?int(8|16|32|64)|float(16|32|64)|complex(64|128)")


def check_declared_sizes(path: Path, format_name: str) -> None:
    """Reject a file that declares more data than it can contain.

    Args:
        path: File with structures.
        format_name: Its ASE format.

    Raises:
        DataError: If it does.
        Exception: Any error of a parser on invalid content.
    """
    size = _decompressed_size(path)
    if format_name not in ANY_LENGTH:
        _check_lines(path)
    if format_name == "traj":
        with open_with_compression(str(path), "rb") as file:
            _check_trajectory(file, size)
    elif format_name == "json":
        with open_with_compression(str(path), "r") as file:
            check_json_arrays(file.read())
    elif format_name in COUNTS:
        with open_with_compression(str(path), "r") as file:
            for count in COUNTS[format_name](file.read().splitlines()):
                if count > size:
                    raise DataError(f"declares {count} atoms in {size} bytes")


def _check_lines(path: Path) -> None:
    """Reject lines that a parser would need minutes for."""
    length = 0
    with open_with_compression(str(path), "rb") as file:
        while piece := file.read(2**20):
            first, *others = piece.split(b"\n")
            lengths = [length + len(first), *map(len, others)]
            if max(lengths) > MAX_LINE_LENGTH:
                raise DataError(f"a line has more than {MAX_LINE_LENGTH} bytes")
            length = lengths[-1]


def check_json_arrays(text: str) -> Any:
    """Parse JSON and check the declared lengths of arrays as written by ASE.

    Raises:
        DataError: If the number of entries of an array is not the declared one.
        ValueError: If the text is not JSON.
    """
    return load_json(text, object_hook=_check_json_array)


def _check_json_array(value: dict[str, Any]) -> dict[str, Any]:
    if "__ndarray__" in value:
        shape, dtype, flat = value["__ndarray__"]
        declared = _entries(shape) * (2 if str(dtype).startswith("complex") else 1)
        if not NUMERIC.fullmatch(str(dtype)) or len(flat) != declared:
            raise DataError(
                f"an array of shape {str(shape)[:60]} and type {str(dtype)[:30]} has "
                f"{len(flat)} entries"
            )
    return value


def _entries(shape: Any) -> int:
    sizes = shape if isinstance(shape, list) else [shape]
    if not all(type(n) is int and n >= 0 for n in sizes):
        raise DataError(f"an array has the shape {str(shape)[:60]}")
    return math.prod(sizes)


def _decompressed_size(path: Path) -> int:
    """Size of a file after decompression; stops at the maximum ratio."""
    stored = path.stat().st_size
    if get_compression(str(path))[1] is None:
        return stored
    size, largest = 0, max(MAX_UNCHECKED_BYTES, MAX_DECOMPRESSION_RATIO * stored)
    with open_with_compression(str(path), "rb") as file:
        while piece := file.read(2**20):
            size += len(piece)
            if size > largest:
                raise DataError(
                    f"{stored} bytes become more than {largest} when decompressed; "
                    "if this is intended, decompress the file first"
                )
    return size


def _check_trajectory(file: IO[bytes], size: int) -> None:
    """Check the directory of an ASE Ulm file, and the sizes of its arrays.

    Source:
        Layout: documentation of `ase.io.ulm`.
    """
    file.seek(24)
    _, frames, start = struct.unpack("<qqq", file.read(24))
    if not (0 <= frames <= size // 8 and 0 <= start <= size - 8 * frames):
        raise DataError(f"declares {frames} frames in {size} bytes")
    file.seek(start)
    offsets = np.frombuffer(file.read(8 * frames), "<i8").tolist()
    if sorted(set(offsets)) != offsets:
        raise DataError("its frames are not in sequence")
    declared = 0
    for offset in offsets:
        if not 0 <= offset <= size - 8:
            raise DataError(f"a frame begins at byte {offset} of {size}")
        file.seek(offset)
        (length,) = struct.unpack("<q", file.read(8))
        if not 0 <= length <= size - offset - 8:
            raise DataError(f"the text of a frame has {length} of {size} bytes")
        frame = check_json_arrays(file.read(length).decode())
        declared += sum(_array_bytes(frame, size))
        if declared > size:
            raise DataError(f"declares {declared} bytes of arrays in {size} bytes")


def _array_bytes(tree: Any, size: int) -> Iterator[int]:
    """Sizes of all arrays referenced by the header of a frame."""
    if not isinstance(tree, dict):
        return
    for name, value in tree.items():
        if not (name.endswith(".") and isinstance(value, dict)):
            continue
        if "ndarray" not in value:
            yield from _array_bytes(value, size)
            continue
        shape, dtype, offset = value["ndarray"]
        if not NUMERIC.fullmatch(str(dtype)) or type(offset) is not int:
            raise DataError(f"{name[:-1][:60]} is an array of {str(dtype)[:30]}")
        if name == "numbers." and np.dtype(dtype).kind not in "iu":
            raise DataError(f"atomic numbers are of type {dtype}")
        length = _entries(shape) * np.dtype(dtype).itemsize
        if not 0 <= offset <= size - length:
            raise DataError(
                f"{name[:-1][:60]} has {length} bytes at {offset} of {size} bytes"
            )
        yield length


def _integers(words: list[str]) -> Iterator[int]:
    """Integers among words; signs are dropped, as parsers may drop them."""
    for word in words:
        digits = word.lstrip("+-")
        if digits.replace("_", "").isdecimal():
            # a number of 19 digits exceeds every file size
            yield int(digits) if len(digits) < 20 else 10**20


def _cube(lines: list[str]) -> Iterator[int]:
    """Numbers of atoms and of grid points along each axis."""
    heads = [line.split()[:1] for line in lines[2:6]]
    counts = list(_integers([word for head in heads for word in head]))
    yield from counts
    yield math.prod(counts[1:4])


def _cfg(lines: list[str]) -> Iterator[int]:
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and name.strip() in ("Number of particles", "entry_count"):
            yield from _integers(value.split()[:1])


def _lammps(lines: list[str]) -> Iterator[int]:
    for line in lines:
        words = line.split("#")[0].split()
        if len(words) > 1 and words[-1] in ("atoms", "bonds", "angles", "dihedrals"):
            yield from _integers(words[:-1])


def _vasp(lines: list[str]) -> Iterator[int]:
    """Numbers of atoms per element, and numbers within names such as ``H999999``."""
    for number, line in enumerate(lines):
        words = line.split()
        if number > 1 or (number == 1 and not line.strip().startswith("-")):
            # the first line is a comment; a negative scale is a volume
            leading = takewhile(lambda word: bool(INTEGER.fullmatch(word)), words)
            yield sum(_integers(list(leading)))
        for word in words:
            if re.fullmatch(r"[A-Za-z(][A-Za-z()0-9]*", word):
                yield from _integers(["".join(re.findall("[0-9]", word))])


def _jsv(lines: list[str]) -> Iterator[int]:
    for line in lines:
        if line.startswith("[n"):
            yield from _integers(line.split()[1:])


def _dump(lines: list[str]) -> Iterator[int]:
    for title, line in pairwise(lines):
        if title.startswith("ITEM: NUMBER OF ATOMS"):
            yield from _integers(line.split()[:1])


def _outcar(lines: list[str]) -> Iterator[int]:
    for line in lines:
        if "ions per type" in line:
            yield sum(_integers(line.split()))


COUNTS: dict[str, Callable[[list[str]], Iterator[int]]] = {
    "cfg": _cfg,
    "cube": _cube,
    "jsv": _jsv,
    "lammps-data": _lammps,
    "lammps-dump-text": _dump,
    "vasp": _vasp,
    "vasp-out": _outcar,
    "vasp-xdatcar": _vasp,
}
"""Text formats whose readers trust a declared number of atoms, and its parser."""
