"""Learning curves of a run: rows of numbers, one per epoch."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float

LOG: Final = "metrics.csv"
"""File with one row per epoch beside the models of a run."""

Row = Mapping[str, float]
Curve = tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]


def read_history(model: Path, header: Mapping[str, Any]) -> list[Row]:
    """Rows from the header of a model, or from the log beside it.

    Args:
        model: File of the model.
        header: Of the model; ``training.history`` holds the rows if it is there.

    Returns:
        The rows in the order they were written; none if neither place has any.

    Raises:
        ValueError: If the log has a cell that is not a number.
    """
    training = header.get("training")
    stored = training.get("history") if isinstance(training, Mapping) else None
    if stored:
        return [_numbers(row) for row in stored]
    log = model.parent / LOG
    if not log.is_file():
        return []
    with log.open(newline="", encoding="utf-8") as file:
        try:
            return [_numbers(row) for row in csv.DictReader(file)]
        except ValueError as error:
            raise ValueError(f"{log} is not a table of numbers: {error}") from error


def curve(rows: Sequence[Row], name: str, x: str = "epoch") -> Curve | None:
    """Abscissa and positive values of one column; None if it holds none."""
    points = [(row[x], row[name]) for row in rows if row.get(name, 0) > 0 and x in row]
    if not points:
        return None
    columns = np.array(points, dtype=float)
    return columns[:, 0], columns[:, 1]


def _numbers(row: Mapping[str, Any]) -> Row:
    return {key: float(value) for key, value in row.items() if value not in (None, "")}
