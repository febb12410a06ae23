"""Tables that can be read by machines, sorted, and scrolled where they are wide."""

from collections.abc import Sequence

from equipot.report.parts.markup import Markup, join, tag


def table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    groups: Sequence[tuple[str, int]] = (),
    text_columns: int = 1,
    sortable: bool = True,
) -> Markup:
    """A table whose first column names the rows.

    Args:
        caption: What the table shows; read out before it.
        head: One heading per column.
        rows: One cell per column; text is escaped, `Markup` is not.
        groups: Headings above the headings and the number of columns that each spans.
        text_columns: Columns on the left that hold text; the others hold numbers.
        sortable: Whether a click on a heading sorts the rows.

    Returns:
        The table in a box that scrolls.

    Raises:
        ValueError: If a row does not have one cell per column.
    """
    if wrong := [row for row in rows if len(row) != len(head)]:
        raise ValueError(f"expected rows of {len(head)} cells, got {wrong[0]}")
    head_rows = [
        tag(
            "tr",
            *(
                tag("th", text, scope="col", class_=_column_class(n, text_columns))
                for n, text in enumerate(head)
            ),
        )
    ]
    if groups:
        spans = (
            tag("th", text, scope="colgroup", colspan=str(span), class_="group")
            if text
            else tag("td", colspan=str(span))
            for text, span in groups
        )
        head_rows.insert(0, tag("tr", *spans))
    body = (tag("tr", *_cells(row, text_columns)) for row in rows)
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption),
            tag("thead", *head_rows),
            tag("tbody", *body),
            class_="sortable" if sortable and len(rows) > 1 else None,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def with_bar(cell: str, share: float) -> Markup:
    """A cell with a bar under its text, as long as `share` of the cell."""
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}%"
    return join(cell, tag("span", class_="bar", style=f"width:{width}"))


def facts(pairs: Sequence[tuple[str, str]]) -> Markup:
    """A list of names and values."""
    return tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs),
        class_="facts",
    )


def _cells(row: Sequence[str], text_columns: int) -> list[Markup]:
    first, *rest = row
    return [
        tag("th", first, scope="row"),
        *(
            tag("td", cell, class_=_column_class(n, text_columns))
            for n, cell in enumerate(rest, start=1)
        ),
    ]


def _column_class(column: int, text_columns: int) -> str | None:
    return "num" if column >= text_columns else None
