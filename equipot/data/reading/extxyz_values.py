"""Values of keys in the second line of an extended XYZ frame."""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from equipot.data.reading.errors import DataError
from equipot.storage.nesting import load_json

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
INTEGER: Final = re.compile(r"[-+]?\d+")
WORDS: Final = re.compile(r"[^\s,]+")


class Value(NamedTuple):
    """Text of a value, without quotes or brackets."""

    text: str
    opening: str
    """Opening quote or bracket, or empty."""


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
    numbers = numbers_of(words)
    if numbers is not None:
        return numbers[0] if len(numbers) == 1 else numbers
    if all(word in INFO_LOGICALS for word in words):
        logicals = [INFO_LOGICALS[word] for word in words]
        return logicals[0] if len(logicals) == 1 else logicals
    return text


def three_logicals(value: Value) -> tuple[bool, bool, bool]:
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


def read_cell(value: Value) -> Float[np.ndarray, "3 3"]:
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


def numbers_of(words: list[str]) -> Shaped[np.ndarray, "..."] | None:
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
        numbers = numbers_of([word for row in rows for word in row])
        if numbers is not None:
            return numbers.reshape(len(rows), -1)
    return text


def _from_json(text: str) -> Any:
    try:
        value = load_json(text)
    except ValueError as error:
        raise DataError(f"{text[:40]!r} is not JSON: {error}") from error
    try:
        array = np.array(value)
    except ValueError:  # rows of different lengths
        return value
    return array if array.dtype.kind in "ifb" else value
