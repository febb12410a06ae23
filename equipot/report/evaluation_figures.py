"""Figures of the report on an evaluation."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from markupsafe import Markup

from equipot.evaluation.results import Evaluation
from equipot.report import evaluation_plots as plots
from equipot.report.domain import closeness
from equipot.report.history import Curve, Row, curve
from equipot.report.parts.numbers import shown
from equipot.report.parts.svg import figure
from equipot.report.quantities import QUANTITIES, labeled


def parity(evaluation: Evaluation) -> dict[str, Markup]:
    """Predictions against labels for each property that has labels."""
    return _per_quantity("parity", plots.draw_parity, (3.5, 3.4), evaluation)


def residuals(evaluation: Evaluation) -> dict[str, Markup]:
    """Distributions of errors for each property that has labels."""
    return _per_quantity("residuals", plots.draw_residuals, (3.5, 2.9), evaluation)


def _per_quantity(
    name: str,
    draw: Callable[..., None],
    size: tuple[float, float],
    evaluation: Evaluation,
) -> dict[str, Markup]:
    return {
        q.key: figure(
            f"{name}-{q.key}", draw, size, compared=q.values(evaluation), quantity=q
        )
        for q in labeled(evaluation)
    }


def force_details(
    evaluation: Evaluation, limits: Mapping[str, float]
) -> dict[str, Markup]:
    """Errors of forces by their length, by element, and by closeness of atoms.

    Args:
        evaluation: Result to show.
        limits: Shortest distances of the training set by pair of elements.
    """
    found = {}
    length = np.linalg.norm(evaluation.forces.reference, axis=1)
    error = np.linalg.norm(evaluation.forces.error, axis=1)
    ratio = closeness(evaluation.closest, limits)
    if ((length > 0) & (error > 0)).any():
        draw = plots.draw_force_errors
        found["length"] = figure("force-errors", draw, evaluation=evaluation)
    if np.isfinite(error).any():
        draw = plots.draw_elements
        found["element"] = figure("element-errors", draw, evaluation=evaluation)
    if np.isfinite(ratio + evaluation.largest_force_error).any():
        found["closeness"] = figure(
            "closeness", plots.draw_closeness, closeness=ratio, evaluation=evaluation
        )
    return found


def learning_curves(rows: Sequence[Row]) -> list[tuple[str, str, Markup]]:
    """Titles, captions and figures of the training run; none without rows."""
    names = {"training": "train_loss", "validation": "valid_loss"}
    found = [_learning(rows, "loss", "Loss", "loss", names, 1.0)]
    for q in QUANTITIES:
        names = {
            "training MAE": f"train_{q.key}_mae",
            "validation MAE": f"valid_{q.key}_mae",
            "validation RMSE": f"valid_{q.key}_rmse",
        }
        title, unit, scale = f"{q.singular} errors", q.error_unit, q.error_scale
        found.append(_learning(rows, q.key, title, unit, names, scale))
    return [drawing for drawing in found if drawing is not None]


def _learning(
    rows: Sequence[Row],
    key: str,
    title: str,
    unit: str,
    names: Mapping[str, str],
    scale: float,
) -> tuple[str, str, Markup] | None:
    """A figure of the columns that are in the rows; None if none of them is."""
    curves: dict[str, Curve] = {}
    for label, name in names.items():
        if (found := curve(rows, name)) is not None:
            curves[label] = found[0], scale * found[1]
    if not curves:
        return None
    suffix = "" if unit == "loss" else f" {unit}"
    last = (f"{name} {shown(float(y[-1]))}{suffix}" for name, (_, y) in curves.items())
    svg = figure(f"learning-{key}", plots.draw_curves, curves=curves, unit=unit)
    return title, f"In the last epoch: {', '.join(last)}.", svg
