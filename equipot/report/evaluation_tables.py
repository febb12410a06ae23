"""Tables of errors of an evaluation: over all labels, and by group."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from equipot.evaluation.results import Evaluation, file_of
from equipot.report.parts.numbers import r_squared
from equipot.report.parts.page import Cell, Table
from equipot.report.quantities import Quantity, labeled


def accuracy(evaluation: Evaluation) -> Table | None:
    """Errors of each property over all labels; None without labels."""
    rows = [_overall_row(quantity, evaluation) for quantity in labeled(evaluation)]
    head = ("", "Unit", "Labels", "MAE", "RMSE", "Bias", "95th percentile", "Maximum")
    columns = (*head, "Label std", "R²")
    title = "Errors over all labels"
    return Table(title, columns, rows, text_columns=2) if rows else None


def breakdowns(evaluation: Evaluation) -> dict[str, Table]:
    """Errors of forces by element, and of all properties by group and by file."""
    found = {}
    if "forces" in evaluation.metrics:
        found["element"] = _by_element(evaluation.metrics["forces"]["per_element"])
    if len(set(evaluation.config_type)) > 1:
        types = evaluation.config_type
        found["config_type"] = _by_group(evaluation, "config_type", types, types)
    files = [file_of(source) for source in evaluation.source]
    if len(set(files)) > 1:
        short = [file_of(source) for source in evaluation.short_source]
        found["file"] = _by_group(evaluation, "file", files, short)
    return found


def _by_element(errors: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        (symbol, e["count"], e["mae"], e["rmse"], e["std"], r_squared(e["explained"]))
        for symbol, e in errors.items()
    ]
    head = ("Element", "Components", "MAE", "RMSE", "Label std", "R²")
    title = "Force errors by element, in meV/Å"
    return Table(title, head, rows, bars=[3], sortable=True)


def _by_group(
    evaluation: Evaluation, kind: str, groups: Sequence[str], names: Sequence[str]
) -> Table:
    """Errors of all properties for each group of structures.

    Args:
        evaluation: Its metrics hold errors ``per_{kind}``.
        kind: ``config_type`` or ``file``.
        groups: Group of each structure.
        names: What to show for them.
    """
    structures, shown = Counter(groups), dict(zip(groups, names, strict=True))
    present = labeled(evaluation)
    rows = []
    for group in sorted(structures):
        row: list[Cell] = [shown[group], structures[group]]
        for q in present:
            errors = evaluation.metrics[q.key][f"per_{kind}"].get(group, {})
            known = (errors.get(key) for key in ("mae", "rmse", "std"))
            row += [None if error is None else q.error_scale * error for error in known]
        rows.append(row)
    title = kind.replace("_", " ")
    head = (
        title.capitalize(),
        "Structures",
        *("MAE", "RMSE", "Label std") * len(present),
    )
    return Table(
        f"Errors by {title}",
        head,
        rows,
        groups=[("", 2), *((f"{q.title}, {q.error_unit}", 3) for q in present)],
        bars=range(3, len(head), 3),
        sortable=True,
    )


def _overall_row(quantity: Quantity, evaluation: Evaluation) -> Sequence[Cell]:
    errors = evaluation.metrics[quantity.key]["overall"]
    scale = quantity.error_scale
    error = quantity.error_per_label * quantity.values(evaluation).error
    return (
        quantity.title,
        quantity.error_unit,
        errors["count"],
        scale * errors["mae"],
        scale * errors["rmse"],
        float(error.mean()),
        float(np.percentile(np.abs(error), 95)),
        float(np.abs(error).max()),
        scale * errors["std"],
        r_squared(errors["explained"]),
    )
