"""Parse the second line of an extended XYZ frame: cell, columns and other keys.

Programs differ in the spelling of keys and logical values. All of their spellings are
supported; unknown entries that could change the structure are errors.

Source:
    Specification of extended XYZ, https://github.com/libAtoms/extxyz; the dialects of
    ASE, QUIP, OVITO, GPUMD and KLIFF.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from equipot.data.reading.errors import DataError

MAX_LINE_LENGTH: Final = 2**24
"""Maximum number of characters per line; dense Hessians of 250 atoms as text are
shorter."""
MAX_KEYS: Final = 10_000
"""Maximum number of keys per line."""

TRUE: Final = {"t", "true", ".true.", "1"}
FALSE: Final = {"f", "false", ".false.", "0"}
INFO_LOGICALS: Final = {
    "T": True,
    "True": True,
    "true": True,
    "TRUE": True,
    "F": False,
    "False": False,
    "false": False,
    "FALSE": False,
}
"""Logical values under any key, as in ASE."""

NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?"
INTEGER: Final = re.compile(r"[-+]?\d+")
KEY: Final = re.compile(r'"((?:[^"\\]|\\.)+)"(?=\s*=)|([^\s=]+)')
SPACE: Final = re.compile(r"\s+")
BARE: Final = re.compile(r"\S*")
EQUALS: Final = re.compile(r"(\s*)=(\s*)")
QUOTED: Final = {
    '"': re.compile(r'"((?:[^"\\]|\\.)*)"'),
    "'": re.compile(r"'((?:[^'\\]|\\.)*)'"),
}
BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
WORDS: Final = re.compile(r"[^\s,]+")
STRUCTURAL: Final = {"lattice": "Lattice", "pbc": "pbc", "properties": "Properties"}
COLUMN_LIST: Final = re.compile(r"[^\s:]+:[A-Za-z]:\d+(?::[^\s:]+:[A-Za-z]:\d+)*:?")

PERIODS: Final = re.compile(
    r"(?:(?:is|use|has|with)?(?:pbcs?|periodic)(?:[abcxyz]|[xyz]{2,3}|flags?|conditions?"
    r"|boundar\w*|bcs?|dim\w*|dir\w*|axes|axis|along|in|type)?|periodicity\w*"
    r"|boundar(?:y|ies)(?:conditions?|types?)?|bcs?)"
)
"""Names, without separators, of keys that may specify periodic directions."""
APERIODIC: Final = re.compile(r"(?:is)?(?:non|not|a)periodic")
"""Names, without separators, of keys that may specify non-periodic structures."""
LENGTHS: Final = ({"a", "b", "c"}, {"lx", "ly", "lz"})
"""Keys that may specify a cell together."""
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


class Value(NamedTuple):
    """Text of a value, without quotes or brackets."""

    text: str
    opening: str
    """Opening quote or bracket, or empty."""


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
        _check_comment(line)
    if not any(value is not None for _, value in pairs):
        return Header(None, (False,) * 3, None, {"comment": line} if line else {})
    structural, others = _sort(pairs, strict)
    _check_foreign_units(pairs)
    lattice, periods = structural.get("lattice"), structural.get("pbc")
    cell = None if lattice is None else _cell(lattice)
    pbc = _three_logicals(periods) if periods is not None else (cell is not None,) * 3
    columns = structural.get("properties")
    for key, value in others.items():
        _check_other_key(key, value, cell)
        _check_periods(key, value, pbc, stated=periods is not None)
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


def logical(word: str) -> bool:
    """Logical value of a word: T, true, .TRUE., 1, and their opposites, in any case.

    Raises:
        ValueError: If the word is not a logical value.
    """
    lowered = word.lower()
    if lowered in TRUE or lowered in FALSE:
        return lowered in TRUE
    raise ValueError(f"expected T or F, got {word[:40]!r}")


def reals(words: Iterable[str]) -> Float[np.ndarray, " n"]:
    """Convert words to numbers; exponents may be written with D, as in Fortran.

    Raises:
        ValueError: If a word is not a number.
    """
    words = list(words)
    if any("_" in word for word in words):  # Python would accept it
        raise ValueError(f"not a number: {next(w for w in words if '_' in w)[:40]!r}")
    try:
        return np.array(words, dtype=np.float64)
    except ValueError:
        fixed = [re.sub(r"(?<=[\d.])[dD](?=[-+\d])", "e", word) for word in words]
        return np.array(fixed, dtype=np.float64)


def convert(value: Value) -> Any:
    """Convert a value to numbers, logical values, arrays of them, or JSON, if possible.

    Raises:
        DataError: If it starts with ``_JSON`` and is not valid JSON.
    """
    text = value.text
    if text.startswith("_JSON "):
        return _from_json(text.removeprefix("_JSON "))
    if value.opening == "[" and "[" in text:
        return _matrix(text)
    words = WORDS.findall(text)
    if not words:
        return text
    numbers = _numbers(words)
    if numbers is not None:
        return numbers[0] if len(numbers) == 1 else numbers
    if all(word in INFO_LOGICALS for word in words):
        logicals = [INFO_LOGICALS[word] for word in words]
        return logicals[0] if len(logicals) == 1 else logicals
    return text


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
        return _three_logicals(one) == _three_logicals(other)
    return np.array_equal(_cell(one), _cell(other), equal_nan=True)


def _three_logicals(value: Value) -> tuple[bool, bool, bool]:
    """Periodicity along three directions; one value applies to all of them."""
    words = re.findall(r"[^\s,;()\[\]{}\"']+", value.text.removeprefix("_JSON "))
    if len(words) == 1 and re.fullmatch("[tfTF01]{3}", words[0]):
        words = list(words[0])
    try:
        found = [logical(word) for word in words]
    except ValueError:
        found = []
    if len(found) == 1:
        found *= 3
    if len(found) != 3:
        raise DataError(
            f'pbc must be three of T and F, such as "T T F", got {value.text[:60]!r}'
        )
    return found[0], found[1], found[2]


def _cell(value: Value) -> Float[np.ndarray, "3 3"]:
    """Lattice vectors as rows."""
    text = value.text.removeprefix("_JSON ")
    rows = re.findall(r"\[([^\[\]]*)\]", text)
    words = [re.findall(r"[^\s,;\[\]{}()]+", row) for row in rows or [text]]
    wrong = DataError(
        'Lattice must be nine numbers in Å, "ax ay az bx by bz cx cy cz", got '
        f"{value.text[:80]!r}"
    )
    if [len(row) for row in words] not in ([9], [3, 3, 3]):
        raise wrong
    try:
        return reals(word for row in words for word in row).reshape(3, 3)
    except ValueError as error:
        raise wrong from error


def _check_other_key(
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
    numbers = _numbers(words)
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


def _check_periods(
    key: str, value: Value, pbc: tuple[bool, bool, bool], *, stated: bool
) -> None:
    """Reject other keys for periodicity, unless they agree with ``pbc``."""
    plain = re.sub("[^a-z0-9]", "", key.lower())
    opposite = APERIODIC.fullmatch(plain) is not None
    if not opposite and PERIODS.fullmatch(plain) is None:
        return
    try:
        a, b, c = _three_logicals(value)
    except DataError:
        agrees = stated  # pbc decides
    else:
        agrees = pbc == ((not a, not b, not c) if opposite else (a, b, c))
    if not agrees:
        raise DataError(
            f"{key}={value.text[:60]!r} is ambiguous: write the periodic "
            'directions as pbc="T T F"'
        )


def _check_foreign_units(pairs: Iterable[tuple[str, Value | None]]) -> None:
    """Reject a number followed by a unit other than eV and Å."""
    for (key, value), (unit, nothing) in pairwise(pairs):
        if (
            nothing is None
            and value is not None
            and FOREIGN_UNITS.fullmatch(unit)
            and _numbers(WORDS.findall(value.text)) is not None
        ):
            raise DataError(
                f"{key[:40]}={value.text[:40]} {unit}: values must be in eV and Å; "
                "convert them and remove the unit"
            )


def _check_comment(line: str) -> None:
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


def _numbers(words: list[str]) -> Shaped[np.ndarray, "..."] | None:
    """Convert words to integers, else to real numbers; None if a word is neither."""
    if not words:
        return None
    try:
        if INTEGER.fullmatch(words[0]) and all(map(INTEGER.fullmatch, words)):
            return np.array(words, dtype=int)
    except (OverflowError, ValueError):
        pass  # too large for an integer of 64 bits
    try:
        return reals(words)
    except ValueError:
        return None


def _matrix(text: str) -> Any:
    """Convert rows in brackets to a matrix of numbers, else return the text."""
    rows = [WORDS.findall(row) for row in re.findall(r"\[([^\[\]]*)\]", text)]
    if rows and rows[0] and len({len(row) for row in rows}) == 1:
        numbers = _numbers([word for row in rows for word in row])
        if numbers is not None:
            return numbers.reshape(len(rows), -1)
    return text


def _from_json(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(f"{text[:40]!r} is not JSON: {error}") from error
    try:
        array = np.array(value)
    except ValueError:  # rows of different lengths
        return value
    return array if array.dtype.kind in "ifb" else value
