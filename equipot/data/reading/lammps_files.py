"""Checks that reject LAMMPS files that do not name elements, or are in other units."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from ase.data import atomic_masses
from ase.io.formats import open_with_compression

from equipot.data.reading.chemical_symbols import (
    ISOTOPE_MASS_TOLERANCE,
    check_element,
    read_symbols,
)
from equipot.data.reading.errors import DataError

UNITS: Final = ("metal", "real")
"""LAMMPS unit styles with lengths in Å."""


def is_lammps_data(path: Path) -> bool:
    """Whether a file of any name begins like a LAMMPS data file.

    Args:
        path: Existing file.
    """
    with open_with_compression(str(path), "rb") as file:
        head = file.read(2**12).decode("latin-1")
    number = r"[-+.\deE]+"
    return all(
        re.search(rf"^\s*{pattern}", head, re.MULTILINE)
        for pattern in (r"\d+\s+atoms\b", rf"{number}\s+{number}\s+xlo\s+xhi\b")
    )


def check_lammps_data(lines: Sequence[str]) -> dict[str, Any]:
    """Elements of the atom types of a data file, for its reader."""
    if lines and (found := re.search(r"units\s*=\s*(\w+)", lines[0])):
        _check_units(found[1])
    labels, masses = _lammps_types(lines)
    if not labels:
        raise DataError(
            "atom types are not elements; write the element of each type as a "
            "comment in the section Masses, such as '1 28.0855 # Si', or as a label in "
            "the section Atom Type Labels, or convert the file to extxyz"
        )
    numbers, isotopes = read_symbols(list(labels.values()))
    expected = atomic_masses[numbers] if isotopes is None else isotopes
    for (kind, symbol), mass in zip(labels.items(), expected, strict=True):
        if kind in masses and abs(masses[kind] - mass) > 10 * ISOTOPE_MASS_TOLERANCE:
            raise DataError(
                f"type {kind} is called {symbol}, but has the mass {masses[kind]:g} u; "
                "correct one of them"
            )
    return {"Z_of_type": dict(zip(labels, numbers.tolist(), strict=True))}


def check_lammps_dump(lines: Sequence[str]) -> dict[str, Any]:
    """Reject a dump without elements, periodicity or known units."""
    columns: list[str] = []
    atoms: set[tuple[str, str]] = set()
    for line, following in pairwise([*lines, ""]):
        words = line.split()
        if words[:1] == ["ITEM:"]:
            columns = words[2:] if words[1:2] == ["ATOMS"] else []
        elif columns and len(words) == len(columns):
            known = dict(zip(columns, words, strict=True))
            atoms.add((known["element"], known.get("mass", "")))
        if words[:2] == ["ITEM:", "ATOMS"] and "element" not in words:
            raise DataError(
                "the dump has no column 'element', and types are not elements; write "
                "it with 'dump custom ... element' and 'dump_modify ... element', or "
                "convert it to extxyz"
            )
        if words[:3] == ["ITEM:", "BOX", "BOUNDS"] and not any(
            "p" in word or word in ("ff", "ss", "mm", "fs", "fm", "sm")
            for word in words[3:]
        ):
            raise DataError(
                "'ITEM: BOX BOUNDS' does not specify periodic directions, such as pp "
                "pp ff; add them"
            )
        if words[:2] == ["ITEM:", "UNITS"]:
            _check_units(following.strip())
    for symbol, mass in sorted(atoms):
        check_element(symbol, mass)
    return {}


def _lammps_types(lines: Sequence[str]) -> tuple[dict[int, str], dict[int, float]]:
    """Elements and masses of the atom types; no elements unless all are specified."""
    labels: dict[int, str] = {}
    comments: dict[int, str] = {}
    masses: dict[int, float] = {}
    section = ""
    for line in lines[1:]:
        text, _, comment = line.partition("#")
        words = text.split()
        if not words:
            continue
        if not re.match(r"[-+.\d]", words[0]):
            section = " ".join(words)
        elif section == "Masses" and len(words) == 2:
            masses[int(words[0])] = float(words[1])
            comments[int(words[0])] = comment.strip()
        elif section == "Atom Type Labels":
            labels[int(words[0])] = words[1]
    if not labels and all(comments.values()):
        labels = comments
    return labels, masses


def _check_units(units: str) -> None:
    if units not in UNITS:
        raise DataError(
            f"has LAMMPS units {units[:20]!r}; positions must be in Å, as in the units "
            f"{' and '.join(UNITS)}: convert the file to extxyz"
        )
