"""Files that grow during a run and can be cut back to an earlier moment."""

import csv
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, final

from ase import Atoms
from ase.io import write
from ase.io.trajectory import TrajectoryWriter

from equipot.domain import Excursion


class Recorder(ABC):
    """A file that a run appends to."""

    @abstractmethod
    def mark(self) -> Mapping[str, Any]:
        """Force everything onto the disk; where the file ends, as JSON values."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


@final
class ThermoLog(Recorder):
    """Table of comma-separated values, one row per time; numbers keep all digits."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._file = path.open("a", newline="", encoding="utf-8")
        if self._file.tell() == 0:
            self._file.write(",".join(self._columns) + "\n")

    def write(self, row: Mapping[str, int | float | None]) -> None:
        """Append a row; None leaves a cell empty.

        Args:
            row: Value of each column.
        """
        cells = (row[name] for name in self._columns)
        self._file.write(",".join("" if c is None else repr(c) for c in cells) + "\n")

    def mark(self) -> Mapping[str, Any]:
        """Where the file ends; everything before is on the disk."""
        return {"bytes": _sync(self._file)}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@final
class ExcursionLog(Recorder):
    """Table of what lay beyond the training set, one row for each step and kind."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file, lineterminator="\n")
        if self._file.tell() == 0:
            self._rows.writerow(EXCURSION_COLUMNS)

    def write(self, step: int, time_ps: float, excursion: Excursion) -> None:
        """Append a row."""
        values = excursion.as_dict()
        cells = (values[name] for name in EXCURSION_COLUMNS[2:])
        self._rows.writerow([step, time_ps, *cells])

    def mark(self) -> Mapping[str, Any]:
        """Where the file ends; everything before is on the disk."""
        return {"bytes": _sync(self._file)}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class FrameWriter(Recorder):
    """A trajectory."""

    @abstractmethod
    def write(self, frame: Atoms) -> None:
        """Append a frame with its calculated properties."""


@final
class ExtxyzWriter(FrameWriter):
    """Extended XYZ: text that most programs read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", newline="", encoding="utf-8")

    def write(self, frame: Atoms) -> None:
        """Append a frame with its calculated properties."""
        write(self._file, frame, format="extxyz")

    def mark(self) -> Mapping[str, Any]:
        """Where the file ends; everything before is on the disk."""
        return {"bytes": _sync(self._file)}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@final
class TrajWriter(FrameWriter):
    """ASE's binary trajectory: all digits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = TrajectoryWriter(path, "a")

    def write(self, frame: Atoms) -> None:
        """Append a frame with its calculated properties."""
        self._writer.write(frame)

    def mark(self) -> Mapping[str, Any]:
        """Where the file ends, and how many frames its header counts."""
        size = _sync(self._writer.backend.fd)
        with self._path.open("rb") as file:
            file.seek(ULM_COUNTERS)
            return {"bytes": size, "counters": file.read(16).hex()}

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


EXCURSION_COLUMNS = (
    "step",
    "time_ps",
    "kind",
    "subject",
    "atoms",
    "value",
    "limit",
    "message",
)

ULM_COUNTERS = 32
"""Offset of two integers in a .traj file: number of frames, place of their table."""

TRAJECTORIES: dict[str, type[ExtxyzWriter | TrajWriter]] = {
    "extxyz": ExtxyzWriter,
    "traj": TrajWriter,
}


def cut_back(path: Path, mark: Mapping[str, Any]) -> None:
    """Undo everything that was appended to a file after a mark was made.

    Args:
        path: File that nobody has open.
        mark: What `Recorder.mark` returned.

    Raises:
        ValueError: If the file is shorter than it was then.
    """
    size = path.stat().st_size if path.exists() else 0
    if size < mark["bytes"]:
        raise ValueError(
            f"{path} has {size} bytes, but the checkpoint to resume from counts "
            f"{mark['bytes']}: the file was changed or replaced since; put the "
            "original back or start a new run"
        )
    with path.open("r+b") as file:
        file.truncate(mark["bytes"])
        if "counters" in mark:
            file.seek(ULM_COUNTERS)
            file.write(bytes.fromhex(mark["counters"]))
        file.flush()
        os.fsync(file.fileno())


def _sync(file: IO[Any]) -> int:
    file.flush()
    os.fsync(file.fileno())
    return os.fstat(file.fileno()).st_size
