"""Checks for keys and comments of extended XYZ with other cells or units."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Float

from equipot.data.reading.errors import DataError
from equipot.data.reading.extxyz_values import (
    INFO_LOGICALS,
    WORDS,
    Value,
    numbers_of,
    three_logicals,
)

NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?"
PERIODS: Final = re.compile(
    r"(?:(?:is|use|has|with)?(?:pbcs?|periodic)(?:[abcxyz]|[xyz]{2,3}|flags?|conditions?"
    r"|boundar\w*|bcs?|dim\w*|dir\w*|axes|axis|along|in|type)?|periodicity\w*"
    r"|boundar(?:y|ies)(?:conditions?|types?)?|bcs?)"
)
"""Names, without separators, of keys that may specify periodic directions."""
APERIODIC: Final = re.compile(r"(?:is)?(?:non|not|a)periodic")
"""Names, without separators, of keys that may specify non-periodic structures."""
CELL_NAMES: Final = re.compile(
    r"latt|cell|box|cryst|^vec(?:tors?|s)?[abcxyz123]?$|^abc$|^hmat"
)
"""Parts of key names that may specify a cell."""
OTHER_CELL: Final = re.compile(
    r"super|forc|grad|stress|strain|veloc|moment|virial|mass|orig|init|ref|prim|conv"
    r"|recip|inv|target|mismatch|repe|num|count|^n|shift|offset|scal|matmul|transf"
    r"|dipole|label|index|grid|mesh|kpoint"
)
"""Parts of key names that specify a property of a cell, or another cell."""
LENGTH_UNIT: Final = re.compile(
    r"(?:length|pos|position|positions|distance|coord|coords|coordinate|coordinates"
    r"|cell|lattice|xyz|geometry)?units?(?:system|style)?"
    r"|units?(?:of|for)?(?:length|lengths|pos|position|positions|distance|distances"
    r"|coord|coords|coordinate|coordinates|cell|lattice|xyz|geometry)"
)
"""Names, without separators, of keys that may specify the unit of positions."""
BOHR_FLAGS: Final = {"bohr", "inbohr", "atomicunits", "au", "isbohr", "usebohr"}
FRACTIONAL: Final = re.compile(
    r"fractional|frac|direct|scaled|reduced|crystal|relative", re.IGNORECASE
)
"""Values of keys that indicate fractional coordinates."""
FRACTIONAL_FLAGS: Final = {"fractional", "isfractional"}
FOREIGN_UNITS: Final = re.compile(
    r"\b(?:bohrs?|a0|a\.?u\.?|atomic(?:[ _]units?)?|hartrees?|ha|eh|ry|rydbergs?"
    r"|kcal\S*|kj\S*|real|lj|nm|pm|nanomet\w*|picomet\w*|electron)(?:\b|$)",
    re.IGNORECASE,
)
CELL_IN_TEXT: Final = re.compile(
    r"\b(?:lattice|cell|box|cryst1|pbc|periodic\w*)\w*"
    r"\s*(?:vectors?|constants?|parameters?)?\s*(?:\([^)]*\)|\{[^}]*\})?"
    rf"[\"']?\s*[:=]?\s*[\"'\[(]*\s*(?:{NUMBER}|[TF])(?:[\s,;]+(?:{NUMBER}|[TF])){{2}}",
    re.IGNORECASE,
)
BOHR_IN_TEXT: Final = re.compile(
    r"\b(?:bohr|atomic[_ ]units?)\b"
    r"|\b(?:coord|pos|geom|length|distance|xyz)\w*\s*(?:in\s+|[(\[{]\s*)"
    r"(?-i:a\.u|A\.U|au|AU|nm|pm)\b"
    r"|\bunits?\s*(?:[:=]|are)?\s*(?:atomic|(?-i:a\.u|A\.U|au|AU|nm|pm))\b",
    re.IGNORECASE,
)
"""Comments that mention other units of positions."""


def check_comment(line: str) -> None:
    """Reject a comment that seems to specify a cell or other units."""
    short = line[:1000]
    if found := CELL_IN_TEXT.search(short):
        raise DataError(
            f"{found[0][:60]!r} in the second line is ambiguous: write "
            'Lattice="ax ay az bx by bz cx cy cz" in Å and pbc="T T T"; if it is only '
            "a comment, remove it"
        )
    if BOHR_IN_TEXT.search(short) and "ngstrom" not in short:
        raise DataError(
            "the second line mentions bohr or atomic units, but positions must be "
            "in Å; convert them and change the comment"
        )


def check_other_key(
    key: str,
    value: Value,
    cell: Float[np.ndarray, "3 3"] | None,
) -> None:
    """Reject a key that may specify a cell, or the unit or type of positions."""
    plain = re.sub("[^a-z0-9]", "", key.lower())
    cell_like = not OTHER_CELL.search(plain) and (
        CELL_NAMES.search(plain) or get_close_matches(plain, ["lattice"], cutoff=0.75)
    )
    origin = plain in ("origin", "cellorigin")
    words = re.findall(r"[^\s,;\[\]{}()]+", value.text) if cell_like or origin else []
    numbers = numbers_of(words)
    count = 0 if numbers is None else len(numbers)
    if cell_like:
        if cell is None and count in (3, 6, 9):
            raise DataError(
                f"{key}={value.text[:60]!r} is ambiguous: if it is the cell, "
                'write Lattice="ax ay az bx by bz cx cy cz" in Å'
            )
        flat = np.zeros(0) if cell is None else cell.reshape(9)
        if (
            numbers is not None
            and len(numbers) == len(flat)
            and not np.allclose(numbers, flat, rtol=0, atol=1e-6)
        ):
            raise DataError(f"{key} and Lattice are two different cells")
    if origin and count != 3:
        raise DataError(f"{key} must be three numbers in Å, got {value.text[:60]!r}")
    stated = INFO_LOGICALS.get(value.text) or value.text == "1"
    if (LENGTH_UNIT.fullmatch(plain) and FOREIGN_UNITS.search(value.text)) or (
        plain in BOHR_FLAGS and stated
    ):
        raise DataError(
            f"{key}={value.text[:40]!r}: positions and cells must be in Å; convert "
            "them and remove the key"
        )
    if (plain in FRACTIONAL_FLAGS and stated) or (
        plain.startswith(("coord", "position")) and FRACTIONAL.fullmatch(value.text)
    ):
        raise DataError(
            f"{key}={value.text[:40]!r}: positions must be Cartesian coordinates "
            "in Å; convert them and remove the key"
        )


def check_periods(
    key: str, value: Value, pbc: tuple[bool, bool, bool], *, stated: bool
) -> None:
    """Reject other keys for periodicity, unless they agree with ``pbc``."""
    plain = re.sub("[^a-z0-9]", "", key.lower())
    opposite = APERIODIC.fullmatch(plain) is not None
    if not opposite and PERIODS.fullmatch(plain) is None:
        return
    try:
        a, b, c = three_logicals(value)
    except DataError:
        agrees = stated  # pbc decides
    else:
        agrees = pbc == ((not a, not b, not c) if opposite else (a, b, c))
    if not agrees:
        raise DataError(
            f"{key}={value.text[:60]!r} is ambiguous: write the periodic "
            'directions as pbc="T T F"'
        )


def check_foreign_units(pairs: Iterable[tuple[str, Value | None]]) -> None:
    """Reject a number followed by a unit other than eV and Å."""
    for (key, value), (unit, nothing) in pairwise(pairs):
        if (
            nothing is None
            and value is not None
            and FOREIGN_UNITS.fullmatch(unit)
            and numbers_of(WORDS.findall(value.text)) is not None
        ):
            raise DataError(
                f"{key[:40]}={value.text[:40]} {unit}: values must be in eV and Å; "
                "convert them and remove the unit"
            )
