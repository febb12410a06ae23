"""Output files of a run, which can be truncated to an earlier state on resuming."""

import contextlib
import csv
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, final

from ase import Atoms
from ase.io.trajectory import TrajectoryWriter

from equipot.domain import ExtrapolationEvent
from equipot.storage.atomic_file import append_whole, naming, open_regular, sync_file
from equipot.storage.frame_file import extxyz


class Recorder(ABC):
    """File that a run appends complete rows or frames to, even on a full disk."""

    @abstractmethod
    def mark(self) -> Mapping[str, Any]:
        """Flush the file to disk and return its end as JSON values for `cut_back`."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


@final
class ThermoLog(Recorder):
    """CSV log with one row per logged step; numbers are written with all digits."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._path = path
        if not path.exists() or path.stat().st_size == 0:
            self._append(self._columns)

    def write(self, row: Mapping[str, int | float | None]) -> None:
        """Append a row; None is written as an empty cell.

        Args:
            row: Value of each column.
        """
        cells = (row[name] for name in self._columns)
        self._append(["" if c is None else repr(c) for c in cells])

    def mark(self) -> Mapping[str, Any]:
        """Flush the file to disk and return its length in bytes."""
        return {"bytes": sync_file(self._path)}

    def close(self) -> None:
        """No-op: the file is not kept open."""

    def _append(self, cells: Sequence[str]) -> None:
        append_whole(self._path, (",".join(cells) + "\n").encode())


@final
class ExtrapolationLog(Recorder):
    """CSV log of extrapolation events, one row per step and kind of event."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists() or path.stat().st_size == 0:
            self._append(EXTRAPOLATION_COLUMNS)

    def write(self, step: int, time_ps: float, event: ExtrapolationEvent) -> None:
        """Append a row."""
        values = event.as_dict()
        self._append(
            [step, time_ps, *(values[name] for name in EXTRAPOLATION_COLUMNS[2:])]
        )

    def mark(self) -> Mapping[str, Any]:
        """Flush the file to disk and return its length in bytes."""
        return {"bytes": sync_file(self._path)}

    def close(self) -> None:
        """No-op: the file is not kept open."""

    def _append(self, cells: Sequence[Any]) -> None:
        row = StringIO()
        csv.writer(row, lineterminator="\n").writerow(cells)
        append_whole(self._path, row.getvalue().encode())


class FrameWriter(Recorder):
    """Trajectory file."""

    @abstractmethod
    def write(self, frame: Atoms) -> None:
        """Append a frame with its calculated properties."""


@final
class ExtxyzWriter(FrameWriter):
    """Trajectory in extended XYZ, a text format."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, frame: Atoms) -> None:
        """Append a frame with its calculated properties."""
        append_whole(self._path, extxyz(frame))

    def mark(self) -> Mapping[str, Any]:
        """Flush the file to disk and return its length in bytes."""
        return {"bytes": sync_file(self._path)}

    def close(self) -> None:
        """No-op: the file is not kept open."""


@final
class TrajWriter(FrameWriter):
    """Binary trajectory of ASE, with all digits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = _open_trajectory(path)

    def write(self, frame: Atoms) -> None:
        """Append a frame with its calculated properties."""
        before = self._end()
        try:
            self._writer.write(frame)
        except OSError as error:
            self._give_up()
            cut_back(self._path, before)
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def mark(self) -> Mapping[str, Any]:
        """Flush the file to disk and return its length and its header counters."""
        sync_file(self._path)
        return self._end()

    def close(self) -> None:
        """Close the file."""
        with naming(self._path):
            self._writer.close()

    def _end(self) -> Mapping[str, Any]:
        # ASE writes every frame to the file as soon as it is complete.
        with self._path.open("rb") as file:
            file.seek(ULM_COUNTERS_OFFSET)
            counters = file.read(16).hex()
            size = os.fstat(file.fileno()).st_size
        return {"bytes": size, "counters": counters} if counters else {"bytes": size}

    def _give_up(self) -> None:
        """Close without pending data, which ASE would count as one more frame."""
        backend = self._writer.backend
        backend.data, backend.header = {}, b""
        with contextlib.suppress(OSError):
            backend.fd.close()


def _open_trajectory(path: Path) -> TrajectoryWriter:
    """Open a trajectory of ASE for appending; refuses symbolic links."""
    descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
    if os.fstat(descriptor).st_size == 0:
        return TrajectoryWriter(os.fdopen(descriptor, "wb"), "w")
    # ASE needs the name to read the first frame; mode "a" truncates nothing.
    os.close(descriptor)
    return TrajectoryWriter(path, "a")


EXTRAPOLATION_COLUMNS = (
    "step",
    "time_ps",
    "kind",
    "subject",
    "atoms",
    "value",
    "limit",
    "message",
)

ULM_COUNTERS_OFFSET = 32
"""Byte offset in a .traj file of two integers: number of frames, offset of their
table."""

TRAJECTORY_WRITERS: dict[str, type[ExtxyzWriter | TrajWriter]] = {
    "extxyz": ExtxyzWriter,
    "traj": TrajWriter,
}


def cut_back(path: Path, mark: Mapping[str, Any]) -> None:
    """Truncate a file to a mark, which undoes everything appended after it.

    Args:
        path: File that is not open.
        mark: Return value of `Recorder.mark`.

    Raises:
        ValueError: If the file is shorter than at the mark.
    """
    size = path.stat().st_size if path.exists() else 0
    if size < mark["bytes"]:
        raise ValueError(
            f"{path} has {size} bytes, expected at least {mark['bytes']} by the "
            "checkpoint to resume from: the file was changed or replaced since; "
            "restore the original, or start a new run"
        )
    with os.fdopen(open_regular(path, os.O_RDWR), "r+b") as file:
        if "counters" in mark:
            # Counters first, so that no reader looks for truncated frames.
            file.seek(ULM_COUNTERS_OFFSET)
            file.write(bytes.fromhex(mark["counters"]))
            file.flush()
            os.fsync(file.fileno())
        file.truncate(mark["bytes"])
        os.fsync(file.fileno())
