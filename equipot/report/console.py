"""Errors as compact tables for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from equipot.evaluation.results import Evaluation
from equipot.report.evaluation_tables import accuracy, breakdowns
from equipot.report.findings import committee_sentence, verdict, warnings
from equipot.report.parts import page
from equipot.report.parts.numbers import shown
from equipot.report.worst import worst_structures, worst_summary
from equipot.system.terminal import Fitted

BELOW: Final = (0, 0, 1, 0)
"""An empty line under a table."""


def summary(
    evaluation: Evaluation, header: Mapping[str, Any], notes: Sequence[str] = ()
) -> Iterator[RenderableType]:
    """What `equipot evaluate` prints.

    Args:
        evaluation: Result to show.
        header: Of the model.
        notes: Sentences on how the data were read.

    Yields:
        Tables and sentences for a rich console.
    """
    for item in _tables(evaluation):
        yield Padding(item, BELOW)
    yield escape(verdict(evaluation))
    if sentence := committee_sentence(evaluation):
        yield escape(sentence)
    if worst := worst_structures(evaluation, most=1):
        yield escape(f"Worst: {worst_summary(evaluation, worst)}.")
    for sentence in (*warnings(evaluation, header), *notes):
        yield f"[yellow]![/] {escape(sentence)}"


def _tables(evaluation: Evaluation) -> Iterator[Fitted]:
    """Errors over all, by element, and by group."""
    if (overall := accuracy(evaluation)) is not None:
        yield Fitted(_printed(overall, [0, 2, 3, 4, 8, 9, 1]))
    for kind, table in breakdowns(evaluation).items():
        if kind != "file":
            all_columns = range(len(table.head))
            starts = range(2, len(table.head), 3) if table.groups else ()
            parts = [_printed(table, [0, n, n + 1, n + 2]) for n in starts]
            yield Fitted(_printed(table, all_columns), parts)
    if evaluation.hessians:
        yield Fitted(_hessians(evaluation.hessians))


def _printed(table: page.Table, columns: Sequence[int]) -> Table:
    """Some columns of a table, for a terminal."""
    groups = [group for group, span in table.groups for _ in range(span)]
    heads = [head if head.isupper() else head.lower() for head in table.head]
    if groups:
        above = (f"{group}\n".replace(", ", "\n").lstrip() for group in groups)
        heads = [f"{group}{head}" for group, head in zip(above, heads, strict=True)]
    caption = table.caption if table.sortable else None
    printed = _table(*(heads[n] for n in columns), caption=caption)
    for row in table.rows:
        printed.add_row(*(escape(page.text(row[n])) for n in columns))
    return printed


def _hessians(routes: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table(
        "Hessian",
        "structures",
        "MAE",
        "eigenvalues\nMAE",
        "lowest\nMAE",
        "lowest mode\n|cos|",
        caption="in eV/Å^2; the mode is that of the mass-weighted Hessian without "
        "translations and, in molecules, rotations",
    )
    for name, errors in routes.items():
        numbers = (errors[k] for k in ("mae", "eigenvalue_mae", "lowest_mae"))
        table.add_row(
            name,
            str(errors["count"]),
            *map(shown, numbers),
            f"{errors['overlap']:.3f}",
        )
    return table


def _table(first: str, *others: str, caption: str | None = None) -> Table:
    table = Table(box=None, pad_edge=False, caption=caption, caption_justify="left")
    table.add_column(first, style="bold", overflow="fold")
    for head in others:
        table.add_column(head, justify="right", no_wrap=True)
    return table
