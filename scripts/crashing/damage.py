"""Damage of the files of a run."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import ase.io

from equipot.storage.tensor_file import TensorFileError, read_tensor_file


def damaged_tensors(path: Path, kind: str) -> Iterator[str]:
    """What is wrong with a model or a state; nothing if it is missing."""
    if path.exists():
        try:
            read_tensor_file(path, kind)
        except TensorFileError as error:
            yield str(error)


def damaged_json(path: Path) -> Iterator[str]:
    """What is wrong with a JSON file; nothing if it is missing."""
    if path.exists():
        try:
            json.loads(path.read_text())
        except ValueError as error:
            yield f"{path.name}: {error}"


def damaged_table(path: Path, columns: int) -> Iterator[str]:
    """What is wrong with a CSV file; nothing if it is missing or empty."""
    text = path.read_text() if path.exists() else ""
    rows = csv.reader(text.splitlines())
    if any(len(row) != columns for row in rows) or text[-1:] not in ("", "\n"):
        yield f"{path.name}: its last row is not complete"


def damaged_trajectory(path: Path) -> Iterator[str]:
    """What is wrong with a trajectory; nothing if it is empty."""
    if path.stat().st_size > 0:
        try:
            ase.io.read(path, ":")
        except Exception as error:  # readers of ASE raise any type
            yield f"{path.name}: {error!r}"
