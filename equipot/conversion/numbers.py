"""Numbers among the settings of a file."""

import math

from equipot.conversion.accounting import Flags
from equipot.conversion.errors import ConversionError


def positive(flags: Flags, name: str) -> float:
    """A finite number above zero, which counts as used.

    Raises:
        ConversionError: If it is missing, or something else.
    """
    value = number(flags, name)
    if value <= 0:
        raise ConversionError(f"{name} is {value:g}: expected a positive number")
    return value


def number(flags: Flags, name: str) -> float:
    """A finite number, which counts as used.

    Raises:
        ConversionError: If it is missing, or something else.
    """
    value = flags.take(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConversionError(f"{name} is {value!r:.60}: expected a number")
    if not math.isfinite(value):
        raise ConversionError(f"{name} is {value}: expected a finite number")
    return float(value)


def integer(
    flags: Flags, name: str, least: int, most: int, default: int | None = None
) -> int:
    """An integer within bounds, which counts as used; 6.0 is one, too.

    Args:
        flags: Settings.
        name: As in the file.
        least: Lowest value.
        most: Highest value.
        default: Meaning of its absence, if it may be absent.

    Raises:
        ConversionError: If it is missing, or something else.
    """
    if default is not None and name not in flags:
        return default
    value = number(flags, name)
    if not value.is_integer() or not least <= value <= most:
        raise ConversionError(
            f"{name} is {value:g}: expected an integer from {least} to {most}"
        )
    return int(value)
