"""Errors as compact tables for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from equipot.evaluation.results import Evaluation
from equipot.report.findings import committee_sentence, verdict, warnings
from equipot.report.parts.markup import percent, shown
from equipot.report.quantities import QUANTITIES, Quantity
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
        notes: What the reader has to know of how the data were read.

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
    shown_quantities = [q for q in QUANTITIES if q.key in evaluation.metrics]
    if shown_quantities:
        yield Fitted(_overall(shown_quantities, evaluation.metrics))
        if "forces" in evaluation.metrics:
            elements = evaluation.metrics["forces"]["per_element"]
            yield _groups("element", QUANTITIES[1:2], evaluation.metrics, elements)
        types = sorted(set(evaluation.config_type))
        if len(types) > 1:
            yield _groups("config_type", shown_quantities, evaluation.metrics, types)
    if evaluation.hessians:
        yield Fitted(_hessians(evaluation.hessians))


def _overall(quantities: Sequence[Quantity], metrics: Mapping[str, Any]) -> Table:
    table = _table("", "labels", "MAE", "RMSE", "spread", "explained", "unit")
    for q in quantities:
        errors = metrics[q.key]["overall"]
        numbers = (shown(q.error_scale * errors[key]) for key in ("mae", "rmse", "std"))
        explained = percent(errors["explained"])
        table.add_row(
            q.title, str(errors["count"]), *numbers, explained, escape(q.error_unit)
        )
    return table


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


def _groups(
    kind: str,
    quantities: Sequence[Quantity],
    metrics: Mapping[str, Any],
    groups: Sequence[str] | Mapping[str, Any],
) -> Fitted:
    """A table of all quantities, or one for each where that is too wide."""
    tables = [
        _group_table(kind, some, metrics, groups)
        for some in (quantities, *([q] for q in quantities))
    ]
    return Fitted(tables[0], tables[1:] if len(quantities) > 1 else ())


def _group_table(
    kind: str,
    quantities: Sequence[Quantity],
    metrics: Mapping[str, Any],
    groups: Sequence[str] | Mapping[str, Any],
) -> Table:
    heads = [
        f"{q.key}\n{name}" for q in quantities for name in ("MAE", "RMSE", "spread")
    ]
    units = ", ".join(f"{q.key} in {q.error_unit}" for q in quantities)
    table = _table("group" if kind == "config_type" else kind, *heads, caption=units)
    for group in groups:
        cells = (
            _cell(q, metrics[q.key][f"per_{kind}"].get(group), key)
            for q in quantities
            for key in ("mae", "rmse", "std")
        )
        table.add_row(escape(group), *cells)
    return table


def _cell(quantity: Quantity, errors: Mapping[str, Any] | None, key: str) -> str:
    return "–" if errors is None else shown(quantity.error_scale * errors[key])


def _table(first: str, *others: str, caption: str | None = None) -> Table:
    table = Table(box=None, pad_edge=False, caption=caption, caption_justify="left")
    table.add_column(first, style="bold", overflow="fold")
    for head in others:
        table.add_column(head, justify="right", no_wrap=True)
    return table
