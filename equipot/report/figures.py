"""Sections of the report that hold plots."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from equipot.evaluation.results import Evaluation
from equipot.report.domain import closeness
from equipot.report.history import Curve, Row, curve
from equipot.report.parts import plots
from equipot.report.parts.figure import figure, grid
from equipot.report.parts.markup import Markup, shown
from equipot.report.quantities import QUANTITIES, Quantity


def parity(evaluation: Evaluation) -> Markup:
    """Predictions against labels for each property that has labels."""
    return grid(
        figure(
            f"parity-{q.key}",
            partial(plots.draw_parity, compared=q.values(evaluation), quantity=q),
            q.title,
            f"{_per(q)}. RMSE {_rmse(q, evaluation)} {_unbroken(q.error_unit)}.",
            (3.5, 3.4),
        )
        for q in QUANTITIES
        if q.key in evaluation.metrics
    )


def residuals(evaluation: Evaluation) -> Markup:
    """Distributions of errors for each property that has labels."""
    return grid(
        figure(
            f"residuals-{q.key}",
            partial(plots.draw_residuals, compared=q.values(evaluation), quantity=q),
            f"{q.singular} errors",
            "Prediction minus label. Dashed: the normal distribution of the same RMSE; "
            "what rises above it far out are outliers.",
        )
        for q in QUANTITIES
        if q.key in evaluation.metrics
    )


def force_details(evaluation: Evaluation, header: Mapping[str, Any]) -> Markup:
    """Which forces are wrong: long ones, those on an element, those of close atoms."""
    return grid(_force_figures(evaluation, header))


def learning_curves(rows: Sequence[Row]) -> Markup:
    """Losses and errors of the run that the model comes from; nothing without rows."""
    return grid(_learning_figures(rows))


def _force_figures(
    evaluation: Evaluation, header: Mapping[str, Any]
) -> Iterator[Markup]:
    length = np.linalg.norm(evaluation.forces.reference, axis=1)
    error = np.linalg.norm(evaluation.forces.error, axis=1)
    if ((length > 0) & (error > 0)).any():
        yield figure(
            "force-errors",
            partial(plots.draw_force_errors, evaluation=evaluation),
            "Error against length of the force",
            "Each point is an atom. Dotted: errors of 1, 10 and 100 % of the force.",
        )
    if np.isfinite(error).any():
        yield figure(
            "element-errors",
            partial(plots.draw_elements, evaluation=evaluation),
            "Errors by element",
            "Share of force components whose error is smaller than the abscissa.",
        )
    limits = header.get("statistics", {}).get("minimum_distances", {})
    ratio = closeness(evaluation.closest, limits)
    if np.isfinite(ratio + evaluation.largest_force_error).any():
        yield figure(
            "closeness",
            partial(plots.draw_closeness, closeness=ratio, evaluation=evaluation),
            "Error against closeness of atoms",
            "Each point is a structure. Left of the dashed line, two atoms are closer "
            "than any of their elements in training.",
        )


def _learning_figures(rows: Sequence[Row]) -> Iterator[Markup]:
    panels = [
        ("loss", "Loss", "loss", {"training": "train_loss", "validation": "valid_loss"})
    ]
    for q in QUANTITIES:
        names = {
            "training MAE": f"train_{q.key}_mae",
            "validation MAE": f"valid_{q.key}_mae",
            "validation RMSE": f"valid_{q.key}_rmse",
        }
        panels.append((q.key, f"{q.singular} errors", q.error_unit, names))
    scales: dict[str, float] = {q.key: q.error_scale for q in QUANTITIES}
    for key, title, unit, names in panels:
        curves = {
            label: _scaled(found, scales.get(key, 1.0))
            for label, name in names.items()
            if (found := curve(rows, name)) is not None
        }
        if curves:
            yield figure(
                f"learning-{key}",
                partial(plots.draw_curves, x_name="epoch", curves=curves, unit=unit),
                title,
                _last_values(curves, unit),
            )


def _per(quantity: Quantity) -> str:
    return {
        "energy": "One point per structure; energies per atom, relative to reference "
        "energies of the atoms",
        "forces": "One point per component of a force",
        "stress": "One point per component, positive in tension",
    }[quantity.key]


def _rmse(quantity: Quantity, evaluation: Evaluation) -> str:
    errors = evaluation.metrics[quantity.key]["overall"]
    return shown(quantity.error_scale * errors["rmse"])


def _scaled(found: Curve, scale: float) -> Curve:
    return found[0], scale * found[1]


def _last_values(curves: Mapping[str, Curve], unit: str) -> str:
    suffix = "" if unit == "loss" else f" {_unbroken(unit)}"
    values = (
        f"{name} {shown(float(y[-1]))}{suffix}" for name, (_, y) in curves.items()
    )
    return f"At the end: {', '.join(values)}."


def _unbroken(unit: str) -> str:
    """A unit that no line ends in."""
    return unit.replace("/", "/\N{WORD JOINER}")
