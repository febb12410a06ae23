"""Table of errors at the end of a run."""

import math
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from equipot.units import GPA_PER_EV_PER_A3, MEV_PER_EV


def error_table(
    errors: Mapping[str, Mapping[str, Any]], title: str = "Errors of the best model"
) -> Table:
    """Errors of a model, compared to the standard deviation of the labels.

    Args:
        errors: Results of `ErrorAccumulator.compute` by name of the set.
        title: Of the table.

    Returns:
        One row per set and property; stress also in GPa.
    """
    table = Table(
        title=title,
        caption="label std: standard deviation of the labels, less reference "
        "energies; R²: fraction of their variance that the model explains",
        box=SIMPLE_HEAD,
    )
    table.add_column("set", overflow="fold")
    table.add_column("property", no_wrap=True)
    for name in ("MAE", "RMSE", "label std", "R²", "labels"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for set_name, properties in errors.items():
        for name, groups in properties.items():
            for row in _rows(set_name, name, groups["overall"]):
                table.add_row(*row)
    return table


def _rows(set_name: str, name: str, errors: Mapping[str, Any]) -> list[list[str]]:
    explained = errors["explained"]
    r_squared = ""
    if explained is not None:
        r_squared = (
            f"{math.floor(1e4 * explained) / 1e4:.4f}" if explained >= 0 else "< 0"
        )
    rest = [r_squared, str(errors["count"])]
    values = [errors[key] for key in ("mae", "rmse", "std")]
    rows = [[set_name, name, *map(_number, values), *rest, errors["unit"]]]
    if name == "stress":
        factor = GPA_PER_EV_PER_A3 / MEV_PER_EV
        gpa = [_number(factor * value) for value in values]
        rows.append([set_name, name, *gpa, *rest, "GPa"])
    return rows


def _number(value: float) -> str:
    return f"{value:.4g}"
