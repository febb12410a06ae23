"""Numbers of three digits, groups of thousands, formulas and units for pages."""

import math
import re

from ase.data import atomic_numbers

NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SUPERSCRIPTS = str.maketrans("23", "²³")
FORMULA = re.compile(r"(?<![\w./@-])(?:[A-Z][a-z]?(?:[1-9]\d*)?)+(?![\w/@-]|\.\w)")
"""Chemical formulas that are not part of a file name."""


def shown(value: float) -> str:
    """Three significant digits, and all digits before the decimal point."""
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return minus(grouped(round(value)))
    if abs(value) < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return minus(f"{mantissa}e{int(exponent)}")
    digits = max(2 - math.floor(math.log10(abs(float(f"{value:.3g}")))), 0)
    return minus(f"{value:.{digits}f}")


def grouped(value: int) -> str:
    """A whole number in groups of three digits, from five digits on."""
    text = f"{value:,}".replace(",", NARROW_SPACE)
    return text if abs(value) >= 10_000 else str(value)


def r_squared(value: float | None) -> str:
    """Coefficient of determination; values below one are not rounded up to 1."""
    if value is None:
        return "n/a"
    if value == 1:
        return "1"
    if value >= 0.9999:
        return "> 0.9999"
    decimals = 4 if value >= 0.99 else 3
    rounded_down = math.floor(value * 10**decimals) / 10**decimals
    return minus(f"{rounded_down:.{decimals}f}" if value > -10 else f"{value:.0f}")


def plural(number: int, noun: str) -> str:
    """Such as ``1 check`` or ``12 checks``."""
    return f"{grouped(number)} {noun}{'' if number == 1 else 's'}"


def minus(text: str) -> str:
    """A number with a minus sign in place of hyphens."""
    return text.replace("-", "−")


def typeset(text: str) -> str:
    """Plain text with subscripts in formulas, superscripts in units, and minus signs.

    File names, hashes and numbers such as ``1e-5`` are not changed.
    """
    text = re.sub(r"(?<=[Åm])\^([23])", lambda m: m[1].translate(SUPERSCRIPTS), text)
    text = re.sub(r"(?<![\w@.)\]-])-(?=\d)", "\N{MINUS SIGN}", text)
    return FORMULA.sub(_with_subscripts, text)


def _with_subscripts(found: re.Match[str]) -> str:
    symbols = re.findall(r"[A-Z][a-z]?", found[0])
    if not all(atomic_numbers.get(symbol) for symbol in symbols):
        return found[0]
    return found[0].translate(SUBSCRIPTS)
