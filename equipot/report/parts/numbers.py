"""Numbers as people read them: three digits, groups of thousands, percentages."""

import math

NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"


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


def percent(share: float | None) -> str:
    """Explained share of a variance; values below one are not rounded up to 100 %."""
    if share is None:
        return "n/a"
    if share <= 0:
        return "none"
    if share == 1:
        return f"100{NARROW_SPACE}%"
    if share >= 0.9999:
        return f"> 99.99{NARROW_SPACE}%"
    decimals = 2 if share >= 0.99 else 1
    rounded_down = math.floor(share * 10 ** (2 + decimals)) / 10**decimals
    return f"{rounded_down:.{decimals}f}{NARROW_SPACE}%"


def plural(number: int, noun: str) -> str:
    """Such as ``1 check`` or ``12 checks``."""
    return f"{grouped(number)} {noun}{'' if number == 1 else 's'}"


def minus(text: str) -> str:
    """A number with a minus sign in place of hyphens."""
    return text.replace("-", "−")
