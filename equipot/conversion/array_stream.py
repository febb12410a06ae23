"""Reader of a line of JSON and the arrays after it: ``.nqx`` files of Nequix."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
import torch
from torch import Tensor

from equipot.conversion.errors import ConversionError
from equipot.storage.nesting import load_json

MAX_FILE_BYTES = 2**31
"""Larger files are refused."""
MAX_LINE_BYTES = 2**20
"""Longest first line."""
MAX_ARRAYS = 100_000
"""Arrays of a file."""
MAGIC = b"\x93NUMPY"
KINDS = ("<f8", "<f4", "<f2", "<i8", "<i4", "<u4", "|u1", "|b1")
"""Types that are read; no objects, no big-endian numbers."""


HEADER = re.compile(
    r"\{'descr': '([^']*)', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,18}, ?)*\d{0,18})\),? ?\} *\n",
    re.ASCII,
)
"""What NumPy writes before the numbers: a dictionary of Python, never evaluated."""
NUMBER = re.compile(r"\d+", re.ASCII)


@final
@dataclass(frozen=True)
class ArrayStream:
    """A line of JSON, and arrays in the order of the file."""

    header: dict[str, Any]
    """The JSON."""
    arrays: list[Tensor]
    """In the types of the file, those of no dimension among them left out."""
    scalars: list[float]
    """Numbers after the last array: arrays of no dimension."""


def is_array_stream(path: Path) -> bool:
    """Whether a file begins with a JSON object on one line and an array after it."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(1) != b"{":
            return False
        file.seek(0)
        line = file.readline(MAX_LINE_BYTES)
        return line.endswith(b"\n") and file.read(len(MAGIC)) == MAGIC


def read_array_stream(path: Path) -> ArrayStream:
    """Read a file; sizes are compared with what is left of it before memory is used.

    Raises:
        ConversionError: If it is damaged, too large, or has arrays of objects, arrays
            in the order of Fortran, or an array after the scalars.
    """
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ConversionError(f"{path} has {size} bytes, more than {MAX_FILE_BYTES}")
    with path.open("rb") as file:
        header = _header(file.readline(MAX_LINE_BYTES), path)
        found: list[np.ndarray] = []
        while magic := file.read(len(MAGIC)):
            if magic == b"\n" and file.tell() == size:
                break
            if magic != MAGIC or len(found) == MAX_ARRAYS:
                raise ConversionError(
                    f"{path} has no array after array {len(found)}: it is truncated or "
                    "damaged"
                )
            found.append(_array(file, size, f"array {len(found)} of {path}"))
    count = next((n for n, a in enumerate(found) if not a.ndim), len(found))
    arrays, scalars = found[:count], found[count:]
    if any(array.ndim for array in scalars):
        raise ConversionError(f"{path} has arrays after the scalars")
    return ArrayStream(
        header, [torch.from_numpy(a) for a in arrays], [float(a) for a in scalars]
    )


def _header(line: bytes, path: Path) -> dict[str, Any]:
    try:
        header = load_json(line)
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"the first line of {path} is not JSON") from error
    if not isinstance(header, dict) or not line.endswith(b"\n"):
        raise ConversionError(f"the first line of {path} is not a JSON object")
    return header


def _array(file: BinaryIO, size: int, name: str) -> np.ndarray:
    """One array in format 1.0 of NumPy, of which the magic string was read."""
    if file.read(2) != b"\x01\x00":
        raise ConversionError(f"{name} is not in format 1.0 of NumPy")
    length = int.from_bytes(file.read(2), "little")
    header = HEADER.fullmatch(file.read(length).decode("latin1"))
    if header is None:
        raise ConversionError(f"{name} has an unreadable header, or is truncated")
    kind, order, sizes = header.groups()
    if kind not in KINDS or order != "False":
        raise ConversionError(
            f"{name} is of a kind that is not read: {kind[:20]}, Fortran order {order}"
        )
    dtype, shape = np.dtype(kind), tuple(map(int, NUMBER.findall(sizes)))
    count = math.prod(shape)
    if count * dtype.itemsize > size - file.tell():
        raise ConversionError(f"{name} of shape {sizes[:60]} reaches beyond the file")
    data = np.frombuffer(bytearray(file.read(count * dtype.itemsize)), dtype)
    return data.reshape(shape)
