"""HTML elements whose text is escaped unless it is known to be markup."""

import math
from html import escape
from typing import final

NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"


@final
class Markup(str):
    """Text that is HTML already; only `tag` and code that escapes may make one."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str | None) -> Markup:
    """An element around its children.

    Args:
        name: Of the element.
        children: Escaped, except where they are `Markup`.
        attributes: Values are escaped; a trailing underscore of a name is dropped,
            other underscores become hyphens; None leaves an attribute out.

    Returns:
        The element.
    """
    opening = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{opening}>{join(*children)}</{name}>")


def join(*children: str) -> Markup:
    """Children after one another, escaped except where they are `Markup`."""
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in children))


def number(value: float | None) -> Markup:
    """A number with three or four digits; the element carries it in full.

    None and NaN become a dash.
    """
    if value is None or not math.isfinite(value):
        return tag("span", "–", class_="absent", title="no label")
    return tag("data", shown(value), value=repr(float(value)))


def count(value: int) -> Markup:
    """A whole number in groups of three digits."""
    return tag("data", grouped(value), value=str(value))


def grouped(value: int) -> str:
    """A whole number in groups of three digits, from five digits on."""
    text = f"{value:,}".replace(",", NARROW_SPACE)
    return text if abs(value) >= 10_000 else str(value)


def shown(value: float) -> str:
    """Three significant digits, and all digits before the point."""
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return grouped(round(value)).replace("-", "−")
    if abs(value) < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    else:
        digits = max(2 - math.floor(math.log10(abs(float(f"{value:.3g}")))), 0)
        text = f"{value:.{digits}f}"
    return text.replace("-", "−")


def percent(share: float | None) -> str:
    """A share of the variance; it does not round up to all of it."""
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
