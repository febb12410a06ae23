"""Rows of measurements as a table on the terminal."""

from collections.abc import Mapping, Sequence

from rich.table import Table

Row = Mapping[str, object]


def table_of(title: str, rows: Sequence[Row]) -> Table:
    """Table with a column for each key that occurs in a row.

    Texts are left-aligned; one in the first column that repeats the row above is left
    out. Numbers have three digits.
    """
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    keys = list(dict.fromkeys(key for row in rows for key in row))
    for key in keys:
        text = all(isinstance(row.get(key, ""), str) for row in rows)
        table.add_column(key, justify="left" if text else "right", overflow="fold")
    above = ""
    for row in rows:
        first, *others = (_cell(row.get(key)) for key in keys)
        table.add_row("" if first == above else first, *others)
        above = first
    return table


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
