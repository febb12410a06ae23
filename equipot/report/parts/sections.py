"""Sections of the report that hold numbers: key figures and tables of errors."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from equipot.evaluation.results import Evaluation, file_of
from equipot.report.findings import defined
from equipot.report.parts.markup import Markup, count, join, number, percent, tag
from equipot.report.parts.tables import table, with_bar
from equipot.report.quantities import QUANTITIES, Quantity


def section(identifier: str, title: str, *children: str) -> Markup:
    """A part of the page with a heading."""
    return tag(
        "section",
        tag("h2", title, id=f"{identifier}-title"),
        *children,
        id=identifier,
        aria_labelledby=f"{identifier}-title",
    )


def key_figures(evaluation: Evaluation) -> Markup:
    """A card for each property, and one for the data."""
    cards = [_card(q, evaluation.metrics) for q in defined(evaluation)]
    atoms = len(evaluation.atomic_numbers)
    elements = len(np.unique(evaluation.atomic_numbers))
    data = tag(
        "div",
        tag("h3", "Data"),
        tag("p", count(evaluation.num_structures), class_="figure"),
        tag("p", "structures", class_="unit"),
        tag("p", count(atoms), " atoms, ", count(elements), _plural(elements)),
        class_="card",
    )
    return tag("div", *cards, data, class_="cards")


def accuracy(evaluation: Evaluation) -> Markup:
    """Errors of each property over all labels."""
    rows = [
        _overall_row(quantity, evaluation)
        for quantity in QUANTITIES
        if quantity.key in evaluation.metrics
    ]
    if not rows:
        return tag("p", "There are no labels to compare with.")
    head = ("", "Unit", "Labels", "MAE", "RMSE", "Bias", "95 % below", "Largest")
    return join(
        table(
            "Errors over all labels",
            (*head, "Spread", "Explained"),
            rows,
            text_columns=2,
            sortable=False,
        ),
        tag(
            "p",
            "Energies count per atom, forces and stress per component. Spread is the "
            "standard deviation of the labels, that of energies after reference "
            "energies of the atoms are subtracted; explained is 1 − (RMSE / spread)², "
            "the share of the variance of the labels that the model accounts for. Bias "
            "is the mean error.",
            class_="note",
        ),
    )


def by_element(evaluation: Evaluation) -> Markup:
    """Errors of forces on the atoms of each element."""
    errors = evaluation.metrics["forces"]["per_element"]
    largest = max(e["rmse"] for e in errors.values()) or 1.0
    rows = [
        (
            symbol,
            count(e["count"]),
            number(e["mae"]),
            with_bar(number(e["rmse"]), e["rmse"] / largest),
            number(e["std"]),
            percent(e["explained"]),
        )
        for symbol, e in errors.items()
    ]
    head = ("Element", "Components", "MAE", "RMSE", "Spread", "Explained")
    return table("Forces by element, in meV/Å", head, rows)


def by_group(
    evaluation: Evaluation, kind: str, title: str, group_of: Sequence[str]
) -> Markup:
    """Errors of all properties for each group of structures.

    Args:
        evaluation: Its metrics hold errors ``per_{kind}``.
        kind: Such as ``config_type``.
        title: Heading of the first column.
        group_of: Group of each structure.

    Returns:
        The table; a property without labels has no columns.
    """
    structures = Counter(group_of)
    short = _short_files(evaluation) if kind == "file" else {}
    shown = [q for q in QUANTITIES if q.key in evaluation.metrics]
    errors = {q.key: evaluation.metrics[q.key][f"per_{kind}"] for q in shown}
    rows = [
        (
            short.get(group, group),
            count(structures[group]),
            *(cell for q in shown for cell in _group_cells(q, errors[q.key], group)),
        )
        for group in sorted(structures)
    ]
    return table(
        f"Errors by {title.lower()}",
        (title, "Structures", *(("MAE", "RMSE", "Spread") * len(shown))),
        rows,
        groups=[("", 2), *((f"{q.title}, {q.error_unit}", 3) for q in shown)],
    )


def breakdowns(evaluation: Evaluation) -> Iterator[Markup]:
    """Tables of the groups that there are more than one of."""
    if "forces" in evaluation.metrics:
        yield by_element(evaluation)
    if len(set(evaluation.config_type)) > 1:
        types = evaluation.config_type
        yield by_group(evaluation, "config_type", "Config type", types)
    files = [file_of(source) for source in evaluation.source]
    if len(set(files)) > 1:
        yield by_group(evaluation, "file", "File", files)


def _short_files(evaluation: Evaluation) -> dict[str, str]:
    pairs = zip(evaluation.source, evaluation.short_source, strict=True)
    return {file_of(source): file_of(short) for source, short in pairs}


def _card(quantity: Quantity, metrics: Mapping[str, Any]) -> Markup:
    heading = tag("h3", quantity.title)
    if quantity.key not in metrics:
        absent = tag("p", "–", class_="figure")
        return tag("div", heading, absent, tag("p", "no labels"), class_="card absent")
    errors = metrics[quantity.key]["overall"]
    scale, explained = quantity.error_scale, errors["explained"]
    share = max(explained or 0.0, 0.0)
    return tag(
        "div",
        heading,
        tag("p", number(scale * errors["rmse"]), class_="figure"),
        tag("p", f"{quantity.error_unit} RMSE", class_="unit"),
        tag(
            "p",
            "MAE ",
            number(scale * errors["mae"]),
            ", spread ",
            number(scale * errors["std"]),
        ),
        tag(
            "div",
            tag("span", style=f"width:{100 * share:.2f}%"),
            class_="meter",
            aria_hidden="true",
        ),
        tag("p", f"variance explained: {percent(explained)}", class_="explained"),
        class_="card",
    )


def _overall_row(quantity: Quantity, evaluation: Evaluation) -> Sequence[str]:
    errors = evaluation.metrics[quantity.key]["overall"]
    scale = quantity.error_scale
    error = quantity.error_per_label * quantity.values(evaluation).error
    return (
        quantity.title,
        quantity.error_unit,
        count(errors["count"]),
        number(scale * errors["mae"]),
        number(scale * errors["rmse"]),
        number(float(error.mean())),
        number(float(np.percentile(np.abs(error), 95))),
        number(float(np.abs(error).max())),
        number(scale * errors["std"]),
        percent(errors["explained"]),
    )


def _group_cells(
    quantity: Quantity, groups: Mapping[str, Any], group: str
) -> tuple[Markup, ...]:
    errors = groups.get(group)
    if errors is None:
        return (number(None),) * 3
    largest = max(e["rmse"] for e in groups.values()) or 1.0
    mae, rmse, std = (number(quantity.error_scale * errors[k]) for k in _SHOWN)
    return mae, with_bar(rmse, errors["rmse"] / largest), std


_SHOWN = ("mae", "rmse", "std")


def _plural(elements: int) -> str:
    return " element" if elements == 1 else " elements"
