"""Pages from templates: single files that need neither network nor other files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from equipot.report.parts.numbers import grouped, minus, r_squared, shown, typeset

Cell = str | int | float | None
"""Text is escaped unless it is `Markup`; None and NaN are shown as a dash."""


OPTIONAL = ("paragraphs", "subtitle", "warnings", "notes", "footer")
"""Values of the base template that a page may leave out."""


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Raises:
        ValueError: If a row does not have one cell per column.
    """

    caption: str
    head: Sequence[str]
    """One heading per column."""
    rows: Sequence[Sequence[Cell]]
    groups: Sequence[tuple[str, int]] = ()
    """Headings above the headings and the number of columns that each spans."""
    text_columns: int = 1
    """Columns on the left that hold text; the others hold numbers."""
    bars: Sequence[int] = ()
    """Columns of numbers that are also shown as bars, relative to the largest."""
    sortable: bool = False
    """Whether a click on a heading sorts the rows."""

    def __post_init__(self) -> None:
        if wrong := [row for row in self.rows if len(row) != len(self.head)]:
            raise ValueError(f"expected rows of {len(self.head)} cells, got {wrong[0]}")

    def bar(self, column: int, value: Cell) -> float | None:
        """Length of the bar of a cell in percent; None without a bar."""
        if column not in self.bars or not isinstance(value, int | float):
            return None
        column_values = (row[column] for row in self.rows)
        largest = max(v for v in column_values if isinstance(v, int | float))
        return 100 * value / (largest or 1.0)


def render(template: str, **values: Any) -> str:
    """A complete HTML document.

    Args:
        template: Name of the page in ``templates/``, without ``.html.jinja``.
        values: What the template shows; of the base template ``command``, ``heading``,
            and ``summary``; ``paragraphs`` below the summary, ``subtitle`` with files,
            machine and date, ``warnings``, ``notes`` in small print, and lines of the
            ``footer`` may be left out.
    """
    optional: dict[str, Any] = dict.fromkeys(OPTIONAL, ())
    page = _environment().get_template(f"{template}.html.jinja")
    return page.render(optional | values)


def fill(template: str, **values: Any) -> Markup:
    """A part of a page from a template.

    Args:
        template: File name in ``templates/``.
        values: What it shows.
    """
    return Markup(_environment().get_template(template).render(**values))


def cell(value: Cell) -> Markup:
    """Text, a whole number, or a number of three digits with its full value."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return escape(typeset(value))
    if value is None or not math.isfinite(value):
        return Markup('<span class="absent" title="no value">–</span>')
    return full(text(value), value)


def text(value: Cell) -> str:
    """A cell without markup."""
    if isinstance(value, str):
        return value
    if value is None or not math.isfinite(value):
        return "–"
    return grouped(value) if isinstance(value, int) else shown(value)


def full(short: str, value: int | float) -> Markup:
    """Text that carries a number with all digits, for scripts and sorting."""
    number = value if isinstance(value, int) else float(value)
    return Markup('<data value="{}">{}</data>').format(repr(number), short)


def fixed(value: float, decimals: int) -> Markup:
    """A number with fixed decimals that carries its full value."""
    return full(minus(f"{value:z.{decimals}f}"), value)


def flagged(value: Cell) -> Markup:
    """A cell in the color of warnings."""
    return Markup('<span class="warn">{}</span>').format(cell(value))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("equipot.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    filters = (cell, full, flagged, grouped, minus, r_squared, shown, typeset)
    environment.filters |= {function.__name__: function for function in filters}
    return environment
