"""Files that grow during a run and can be cut back to an earlier moment."""

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
    """A file that a run appends to: whole rows and frames, also on a full disk."""

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
        self._path = path
        if not path.exists() or path.stat().st_size == 0:
            self._append(self._columns)

    def write(self, row: Mapping[str, int | float | None]) -> None:
        """Append a row; None leaves a cell empty.

        Args:
            row: Value of each column.
        """
        cells = (row[name] for name in self._columns)
        self._append(["" if c is None else repr(c) for c in cells])

    def mark(self) -> Mapping[str, Any]:
        """Where the file ends; everything before is on the disk."""
        return {"bytes": sync_file(self._path)}

    def close(self) -> None:
        """Nothing is left to do."""

    def _append(self, cells: Sequence[str]) -> None:
        append_whole(self._path, (",".join(cells) + "\n").encode())


@final
class ExtrapolationLog(Recorder):
    """Table of what lay beyond the training set, one row for each step and kind."""

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
        """Where the file ends; everything before is on the disk."""
        return {"bytes": sync_file(self._path)}

    def close(self) -> None:
        """Nothing is left to do."""

    def _append(self, cells: Sequence[Any]) -> None:
        row = StringIO()
        csv.writer(row, lineterminator="\n").writerow(cells)
        append_whole(self._path, row.getvalue().encode())


class FrameWriter(Recorder):
    """A trajectory."""

    @abstractmethod
    def write(self, frame: Atoms) -> None:
        """Append a frame with its calculated properties."""


@final
class ExtxyzWriter(FrameWriter):
    """Extended XYZ: text that most programs read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, frame: Atoms) -> None:
        """Append a frame with its calculated properties."""
        append_whole(self._path, extxyz(frame))

    def mark(self) -> Mapping[str, Any]:
        """Where the file ends; everything before is on the disk."""
        return {"bytes": sync_file(self._path)}

    def close(self) -> None:
        """Nothing is left to do."""


@final
class TrajWriter(FrameWriter):
    """ASE's binary trajectory: all digits."""

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
        """Where the file ends, and how many frames its header counts."""
        sync_file(self._path)
        return self._end()

    def close(self) -> None:
        """Close the file."""
        with naming(self._path):
            self._writer.close()

    def _end(self) -> Mapping[str, Any]:
        # ASE hands every frame to the system when it is complete.
        with self._path.open("rb") as file:
            file.seek(ULM_COUNTERS)
            counters = file.read(16).hex()
            size = os.fstat(file.fileno()).st_size
        return {"bytes": size, "counters": counters} if counters else {"bytes": size}

    def _give_up(self) -> None:
        """Close without what is pending: ASE would count it as one more frame."""
        backend = self._writer.backend
        backend.data, backend.header = {}, b""
        with contextlib.suppress(OSError):
            backend.fd.close()


def _open_trajectory(path: Path) -> TrajectoryWriter:
    """Append to a trajectory of ASE that is no symbolic link."""
    descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
    if os.fstat(descriptor).st_size == 0:
        return TrajectoryWriter(os.fdopen(descriptor, "wb"), "w")
    # ASE wants the name, to look at the first frame; it truncates nothing here.
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
    with os.fdopen(open_regular(path, os.O_RDWR), "r+b") as file:
        if "counters" in mark:
            # First, so that no reader looks for frames that are gone.
            file.seek(ULM_COUNTERS)
            file.write(bytes.fromhex(mark["counters"]))
            file.flush()
            os.fsync(file.fileno())
        file.truncate(mark["bytes"])
        os.fsync(file.fileno())
