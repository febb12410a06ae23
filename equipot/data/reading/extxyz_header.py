"""The second line of an extended XYZ frame: what it says of cell, columns and labels.

Programs differ in how they spell keys and logical values. Every spelling of theirs is
read; what is left over and could change the structure is an error.

Source:
    Specification of extended XYZ, https://github.com/libAtoms/extxyz; the dialects of
    ASE, QUIP, OVITO, GPUMD and KLIFF.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from equipot.data.reading.errors import DataError
from equipot.data.reading.extxyz_ambiguity import (
    check_comment,
    check_foreign_units,
    check_other_key,
    check_periods,
)
from equipot.data.reading.extxyz_values import Value, convert, read_cell, three_logicals

MAX_LINE_LENGTH: Final = 2**24
"""Maximum number of characters per line; dense Hessians of 250 atoms as text are
shorter."""
MAX_KEYS: Final = 10_000
"""Maximum number of keys per line."""


KEY: Final = re.compile(r'"((?:[^"\\]|\\.)+)"(?=\s*=)|([^\s=]+)')
SPACE: Final = re.compile(r"\s+")
BARE: Final = re.compile(r"\S*")
EQUALS: Final = re.compile(r"(\s*)=(\s*)")
QUOTED: Final = {
    '"': re.compile(r'"((?:[^"\\]|\\.)*)"'),
    "'": re.compile(r"'((?:[^'\\]|\\.)*)'"),
}
BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
STRUCTURAL: Final = {"lattice": "Lattice", "pbc": "pbc", "properties": "Properties"}
COLUMN_LIST: Final = re.compile(r"[^\s:]+:[A-Za-z]:\d+(?::[^\s:]+:[A-Za-z]:\d+)*:?")

LENGTHS: Final = ({"a", "b", "c"}, {"lx", "ly", "lz"})
"""Keys that may specify a cell together."""


@dataclass(frozen=True)
class Header:
    """Content of the second line of a frame."""

    cell: Float[np.ndarray, "3 3"] | None
    """Lattice vectors as rows, in Å; None if there are none."""
    pbc: tuple[bool, bool, bool]
    """Whether the structure is periodic along each lattice vector."""
    properties: str | None
    """List of columns, ``NAME:TYPE:NUMBER:...``; None for plain XYZ."""
    info: dict[str, Any]
    """All other keys, as numbers, arrays, logical values or strings."""


def parse_header(line: str) -> Header:
    """Parse the second line of a frame.

    Keys are matched in any case; a line without keys is a comment.

    Args:
        line: Second line.

    Returns:
        Its content; without ``pbc``, the structure is periodic along all lattice
        vectors.

    Raises:
        DataError: If an unknown entry may change the structure, or a key has two
            values.
    """
    line = line.strip()
    if len(line) > MAX_LINE_LENGTH:
        raise DataError(
            f"the second line has more than {MAX_LINE_LENGTH} characters; store large "
            "arrays in other files"
        )
    pairs = list(_pairs(line))
    strict = any(v is not None and k.lower() in STRUCTURAL for k, v in pairs)
    if not strict:
        check_comment(line)
    if not any(value is not None for _, value in pairs):
        return Header(None, (False,) * 3, None, {"comment": line} if line else {})
    structural, others = _sort(pairs, strict)
    check_foreign_units(pairs)
    lattice, periods = structural.get("lattice"), structural.get("pbc")
    cell = None if lattice is None else read_cell(lattice)
    pbc = three_logicals(periods) if periods is not None else (cell is not None,) * 3
    columns = structural.get("properties")
    for key, value in others.items():
        check_other_key(key, value, cell)
        check_periods(key, value, pbc, stated=periods is not None)
        if columns is None and COLUMN_LIST.fullmatch(value.text):
            raise DataError(f"{key}={value.text[:80]} lists columns: write Properties=")
    names = {key.lower() for key in others}
    for lengths in LENGTHS:
        if cell is None and strict and lengths <= names:
            raise DataError(
                f"{', '.join(sorted(lengths))} are ambiguous: if they are the "
                'cell, write Lattice="ax ay az bx by bz cx cy cz" in Å'
            )
    info = {k: v.text if k.lower() == "uid" else convert(v) for k, v in others.items()}
    return Header(cell, pbc, None if columns is None else columns.text.strip(), info)


def _pairs(line: str) -> Iterator[tuple[str, Value | None]]:
    """Keys with their values; None for words without a value."""
    position, count = 0, 0
    while True:
        if space := SPACE.match(line, position):
            position = space.end()
        if position == len(line):
            return
        count += 1
        if count > MAX_KEYS:
            raise DataError(f"the second line has more than {MAX_KEYS} keys")
        found = KEY.match(line, position)
        if found is None:
            raise DataError(f"a key is missing before {line[position:][:40]!r}")
        key = _unescaped(found[1]) if found[1] is not None else found[2]
        position = found.end()
        equals = EQUALS.match(line, position)
        if equals is None:
            yield key, None
            continue
        value, position = _value(line, equals.end(), key)
        if equals[2] and value.opening == "" and "=" in value.text:
            raise DataError(f"{key[:40]} has no value before {value.text[:40]!r}")
        yield key, value


def _value(line: str, start: int, key: str) -> tuple[Value, int]:
    """Value at a position, and the position after it."""
    opening = line[start : start + 1]
    if opening in QUOTED:
        found = QUOTED[opening].match(line, start)
        if found is None:
            raise DataError(f"the quote after {key[:40]}= is not closed")
        value, end = Value(_unescaped(found[1]), opening), found.end()
    elif opening and opening in "[{":
        end = _closing(line, start, key)
        value = Value(_unescaped(line[start + 1 : end - 1]), opening)
    else:
        bare = BARE.match(line, start)
        end = start if bare is None else bare.end()
        return Value(_unescaped(line[start:end]), ""), end
    if line[end : end + 1] == ",":
        end += 1
    if end < len(line) and not line[end].isspace():
        raise DataError(f"a space is missing after the value of {key[:40]}")
    return value, end


def _closing(line: str, start: int, key: str) -> int:
    """Position at which the bracket that opens at `start` is closed."""
    depth = 0
    for found in BRACKETS.finditer(line, start):
        if found[0] in "[{":
            depth += 1
        elif found[0] in "]}":
            depth -= 1
            if depth == 0:
                return found.end()
    raise DataError(f"the bracket after {key[:40]}= is not closed")


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text) if "\\" in text else text


def _sort(
    pairs: Iterable[tuple[str, Value | None]], strict: bool
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Split keys into structural ones (in lower case) and others; reject two values."""
    structural: dict[str, Value] = {}
    others: dict[str, Value] = {}
    for key, value in pairs:
        name = key.lower()
        if strict and name in STRUCTURAL:
            if value is None:
                raise DataError(f"{key} has no value")
            known = structural.setdefault(name, value)
            if not _same(name, known, value):
                raise DataError(
                    f"{STRUCTURAL[name]} is given twice: {known.text[:60]!r} and "
                    f"{value.text[:60]!r}"
                )
            continue
        if strict and value is None and re.match("lattice|pbc|cell|box|period", name):
            raise DataError(f"{key[:40]!r} has no = and no value")
        new = Value("T", "") if value is None else value
        if others.setdefault(key, new).text != new.text:
            raise DataError(
                f"{key[:40]} is given twice: {others[key].text[:60]!r} and "
                f"{new.text[:60]!r}"
            )
    return structural, others


def _same(name: str, one: Value, other: Value) -> bool:
    if name == "properties":
        return one.text.strip() == other.text.strip()
    if name == "pbc":
        return three_logicals(one) == three_logicals(other)
    return np.array_equal(read_cell(one), read_cell(other), equal_nan=True)
