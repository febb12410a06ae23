"""Irreps of e3nn in files: texts, or records of the class."""

import re
from typing import Any, NamedTuple

from equipot.conversion.errors import ConversionError
from equipot.conversion.records import Record

IRREPS = "e3nn.o3._irreps.Irreps"
_TERM = re.compile(r"(?:(\d{1,6})x)?(\d{1,2})([eo])", re.ASCII)


class Irrep(NamedTuple):
    """Channels of one degree and parity."""

    channels: int
    degree: int
    parity: int
    """1 for even, -1 for odd."""


def parse_irreps(value: Any) -> tuple[Irrep, ...]:
    """Channels, degrees and parities, in the order of the file.

    Args:
        value: A text such as ``"128x0e + 64x1o"``, or what the file has instead.

    Raises:
        ConversionError: If it is neither.
    """
    if isinstance(value, Record) and value.name == IRREPS and len(value.args) == 1:
        terms = value.args[0]
        if isinstance(terms, list | tuple):
            return tuple(_of_record(term) for term in terms)
    if isinstance(value, str) and len(value) < 10_000:
        matches = [_TERM.fullmatch(term.strip()) for term in value.split("+")]
        if all(matches):
            return tuple(
                Irrep(int(m[1] or 1), int(m[2]), 1 if m[3] == "e" else -1)
                for m in matches
                if m is not None
            )
    raise ConversionError(f"expected irreps such as 64x0e+64x1o, got {value!r:.60}")


def _of_record(term: Any) -> Irrep:
    """Channels, degree and parity of a record ``_MulIr``."""
    parts = _items(term)
    if len(parts) == 2:
        channels, numbers = parts[0], _items(parts[1])
        if len(numbers) == 2 and all(type(n) is int for n in (channels, *numbers)):
            degree, parity = numbers
            if channels >= 0 and 0 <= degree <= 20 and parity in (1, -1):
                return Irrep(channels, degree, parity)
    raise ConversionError("irreps of the file are of an unknown form")


def _items(record: Any) -> tuple[Any, ...]:
    """Items of a class derived from tuple: the arguments, or a tuple of them."""
    args = record.args if isinstance(record, Record) else ()
    return args[0] if len(args) == 1 and isinstance(args[0], tuple) else args
