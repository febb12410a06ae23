"""Tables and lists that adapt to the width of the terminal."""

import re
import shutil
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table

UNLIMITED_WIDTH = 10_000
"""Number of columns that every table fits into."""
MIN_TEXT_WIDTH = 20
"""Smallest number of columns of a text beside its name; otherwise it is below it."""


@final
class Fitted:
    """Table with an alternative form for narrow terminals.

    Args:
        table: Table that is shown if its longest lines fit.
        narrower: Alternative tables; by default, each row is shown as a list of column
            names and values.
    """

    def __init__(self, table: Table, narrower: Sequence[Table] = ()) -> None:
        self.table = table
        self.narrower = tuple(narrower)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Select the form; called by rich."""
        unbounded = options.update(max_width=UNLIMITED_WIDTH)
        needed = console.measure(self.table, options=unbounded).maximum
        if needed <= options.max_width:
            yield self.table
        elif self.narrower:
            yield from (Fitted(table) for table in self.narrower)
        else:
            yield from _as_lists(self.table)


def _as_lists(table: Table) -> Iterator[RenderableType]:
    """Rows as lists of names and values, with the first cell as title."""
    if table.title:
        yield table.title
    first, *others = table.columns
    columns = [list(column.cells) for column in others]
    for n, name in enumerate(first.cells):
        yield name
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(no_wrap=True)
        row.add_column(overflow="fold")
        for column, cells in zip(others, columns, strict=True):
            row.add_row(" ".join(str(column.header).split()), cells[n])
        yield Padding(row, (0, 0, 0, 2))
    if table.caption:
        yield table.caption


def in_columns(
    lines: Sequence[tuple[str, str]], width: int | None = None, indent: int = 2
) -> Iterator[str]:
    """Names and texts side by side, or stacked on a narrow terminal.

    Args:
        lines: Name and text of each entry.
        width: Number of columns; by default that of the terminal.
        indent: Spaces before the names.

    Yields:
        Lines, of at most `width` characters as far as words allow.
    """
    width = width or shutil.get_terminal_size().columns
    start = indent + max((len(name) for name, _ in lines), default=0) + 2
    below = width - start < MIN_TEXT_WIDTH
    if below:
        start = indent + 4
    for name, text in lines:
        parts = wrap(
            text, max(width - start, 1), break_long_words=False, break_on_hyphens=False
        )
        head = " " * indent + name
        if below:
            yield head
        else:
            yield head.ljust(start) + (parts.pop(0) if parts else "")
        for part in parts:
            yield " " * start + part


def plain(text: str) -> str:
    """Line of a docstring without reStructuredText markup."""
    text = re.sub(r":\w+:`([^`]*)`", r"\1", text)
    return re.sub(r"`{1,2}([^`]*)`{1,2}", r"\1", text)
