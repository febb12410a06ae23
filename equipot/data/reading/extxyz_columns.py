"""Columns of extended XYZ, found by name, in any order and any case."""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from equipot.data.reading.errors import DataError
from equipot.data.reading.extxyz_header import logical, reals

MAX_COLUMNS: Final = 1000
"""Maximum number of columns."""
PLAIN: Final = "species:S:1:pos:R:3"
"""Columns of plain XYZ."""

ROLES: Final = {
    "pos": "positions",
    "position": "positions",
    "positions": "positions",
    "species": "symbols",
    "symbol": "symbols",
    "symbols": "symbols",
    "element": "symbols",
    "elements": "symbols",
    "z": "numbers",
    "numbers": "numbers",
    "atomic_number": "numbers",
    "atomic_numbers": "numbers",
    "mass": "masses",
    "masses": "masses",
    "atomic_mass": "masses",
    "atomic_masses": "masses",
    "particle_mass": "masses",
    "momenta": "momenta",
    "tags": "tags",
    "charge": "charges",
    "charges": "charges",
    "initial_charges": "initial_charges",
    "magmom": "magmoms",
    "magmoms": "magmoms",
    "initial_magmoms": "initial_magmoms",
    "move_mask": "move_mask",
    "occupancy": "occupancy",
    "occupancies": "occupancy",
    "occ": "occupancy",
    "site_occupancy": "occupancy",
}
"""ASE names of columns, by name in lower case; other names are kept."""
SHAPES: Final = {
    "positions": ("RI", {3}),
    "symbols": ("S", {1}),
    "numbers": ("I", {1}),
    "masses": ("RI", {1}),
    "momenta": ("RI", {3}),
    "tags": ("I", {1}),
    "charges": ("RI", {1}),
    "initial_charges": ("RI", {1}),
    "magmoms": ("RI", {1, 3}),
    "initial_magmoms": ("RI", {1, 3}),
    "move_mask": ("LI", {1, 3}),
    "occupancy": ("RI", {1}),
}
"""Allowed types and numbers of columns."""


class Column(NamedTuple):
    """One entry of ``Properties``."""

    name: str
    role: str
    """Name in ASE."""
    kind: str
    """Type: R, I, S or L."""
    width: int


def read_columns(properties: str | None, rows: Sequence[str]) -> dict[str, Any]:
    """Values of all atoms by column name.

    Args:
        properties: List of columns, or None for plain XYZ, where further columns are
            ignored.
        rows: One line per atom.

    Returns:
        Arrays with one entry per atom, under ASE's names where they exist. Symbols
        are a list of strings.

    Raises:
        DataError: If the list is invalid, does not match the rows or lacks elements or
            positions, two columns contradict each other, or a value has another type.
    """
    columns = _parse(PLAIN if properties is None else properties)
    width = sum(column.width for column in columns)
    split = [row.split() for row in rows]
    for number, words in enumerate(split):
        if len(words) < width or (len(words) > width and properties is not None):
            announced = (
                "plain XYZ needs" if properties is None else "Properties declare"
            )
            raise DataError(
                f"{announced} {width} columns, atom {number} has {len(words)}"
            )
    arrays: dict[str, Any] = {}
    start = 0
    for column in columns:
        value = _values(
            column, [words[start : start + column.width] for words in split]
        )
        start += column.width
        known = arrays.setdefault(column.role, value)
        if known is not value and not np.array_equal(known, value):
            raise DataError(
                f"column {column.name} and another one are both {column.role}, with "
                "different values"
            )
    return arrays


def _parse(properties: str) -> list[Column]:
    """Parse the entries of ``Properties``."""
    fields = properties.strip().rstrip(":").split(":")
    counts = fields[2::3]
    wrong = DataError(f"Properties={properties[:200]} is not NAME:TYPE:COLUMNS:...")
    if len(fields) % 3 or len(counts) > MAX_COLUMNS:
        raise wrong
    if not all(re.fullmatch("[0-9]{1,9}", n) and int(n) for n in counts):
        raise wrong
    columns = []
    for name, kind, count in zip(fields[::3], fields[1::3], counts, strict=True):
        if not name or kind.upper() not in {"R", "I", "S", "L"}:
            raise wrong
        columns.append(_column(name, kind.upper(), int(count)))
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        raise DataError(f"Properties={properties[:200]} names a column twice")
    roles = {column.role for column in columns}
    if "positions" not in roles:
        raise DataError(
            f"Properties={properties[:200]} has no positions: add three columns of "
            "Cartesian coordinates in Å, pos:R:3"
        )
    if not roles & {"symbols", "numbers"}:
        raise DataError(
            f"Properties={properties[:200]} has no elements: add a column of chemical "
            "symbols, species:S:1, or of atomic numbers, Z:I:1"
        )
    return columns


def _column(name: str, kind: str, count: int) -> Column:
    lowered = name.lower()
    role = ROLES.get(lowered, name)
    if lowered == "z" and kind == "R":
        role = name  # a coordinate
    if role in SHAPES:
        kinds, counts = SHAPES[role]
        if kind not in kinds or count not in counts:
            raise DataError(
                f"Properties contain {name}:{kind}:{count}, but {role} need type "
                f"{' or '.join(kinds)} and {' or '.join(map(str, sorted(counts)))} "
                "columns"
            )
    return Column(name, role, kind, count)


def _values(column: Column, words: list[list[str]]) -> Any:
    """Values of one entry, in its type."""
    flat = [word for row in words for word in row]
    try:
        match column.kind:
            case "R":
                array: Any = reals(flat)
            case "I":
                if bad := [w for w in flat if not re.fullmatch("[-+]?[0-9]{1,18}", w)]:
                    raise ValueError(f"expected an integer, got {bad[0][:40]!r}")
                array = np.array(flat, dtype=int)
            case "L":
                array = np.array([logical(word) for word in flat])
            case _:
                if column.role == "symbols":
                    return flat
                array = np.array(flat, dtype=object)
    except ValueError as error:
        raise DataError(f"column {column.name}: {str(error)[:200]}") from error
    if column.role == "move_mask":
        array = array.astype(bool)
    if column.role in ("positions", "masses", "momenta", "charges", "occupancy"):
        array = array.astype(np.float64)
    return array if column.width == 1 else array.reshape(len(words), column.width)
