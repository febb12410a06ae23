"""Rotating checkpoints: if the newest is damaged, the previous one is used."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from equipot.storage.atomic_file import sync_folder, unused_name
from equipot.storage.tensor_file import (
    TensorFileError,
    read_tensor_file,
    write_tensor_file,
)


class StateError(ValueError):
    """A checkpoint of a run is missing, damaged, or from another run."""


class RotatingCheckpoints:
    """Rotating checkpoints of one run in a directory, newest first.

    ``state.safetensors`` is the newest, ``state.1.safetensors`` the previous, and so
    on. A checkpoint is written as ``state.new.safetensors``, with a checksum that
    detects later damage, and renamed once the others are rotated. If a process is
    killed in between, this file is used as the newest checkpoint by `load`.

    Args:
        folder: Directory of the files.
        kind: Kind of content, such as ``"training state"``.
        version: Version of the content; other versions are rejected.
        keep: Number of checkpoints.
    """

    def __init__(self, folder: Path, kind: str, version: int, keep: int = 2) -> None:
        self.folder = folder
        self.kind = kind
        self.version = version
        self.paths = [folder / "state.safetensors"] + [
            folder / f"state.{n}.safetensors" for n in range(1, keep)
        ]
        self._fresh = folder / "state.new.safetensors"
        self._damaged: set[Path] = set()

    def exist(self) -> bool:
        """Whether there is a checkpoint."""
        return any(path.exists() for path in (self._fresh, *self.paths))

    def save(self, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write the newest checkpoint; the oldest is deleted.

        Args:
            record: JSON values.
            tensors: Tensors, stored bit for bit.
        """
        header = {"version": self.version, "record": record}
        write_tensor_file(self._fresh, self.kind, header, tensors)
        self._make_newest()

    def _make_newest(self) -> None:
        for older, newer in zip(self.paths[:0:-1], self.paths[-2::-1], strict=True):
            # A damaged file must not replace the checkpoint that the run resumed from
            if newer.exists() and newer not in self._damaged:
                _name_also(newer, older)
        os.replace(self._fresh, self.paths[0])
        sync_folder(self.folder)
        self._damaged.clear()

    def load(
        self, complain: Callable[[str], None]
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Record and tensors of the newest intact checkpoint.

        Args:
            complain: Called with a message for each damaged or missing checkpoint.

        Raises:
            StateError: If none is intact, or another version wrote it.
        """
        damage = []
        for path in (self._fresh, *self.paths):
            try:
                header, tensors = self._read(path)
            except FileNotFoundError:
                if path != self._fresh:
                    damage.append(f"{path} is missing")
            except TensorFileError as error:
                self._damaged.add(path)
                damage.append(str(error))
            else:
                for message in damage:
                    complain(f"{message}; using the previous checkpoint")
                self._check_version(path, header["version"])
                if path == self._fresh:
                    self._finish_saving()
                self._fresh.unlink(missing_ok=True)
                return header["record"], tensors
        raise StateError(
            f"{self.folder} contains no intact checkpoint; start a new run in another "
            "directory:\n  " + "\n  ".join(damage)
        )

    def _read(self, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        header, tensors = read_tensor_file(path, self.kind)
        if "version" not in header or not isinstance(header.get("record"), dict):
            raise TensorFileError(f"{path} is damaged: it has no version or no record")
        return header, tensors

    def _finish_saving(self) -> None:
        """Complete the rotation that a killed process started."""
        for path in self.paths:
            try:
                self._read(path)
            except FileNotFoundError:
                continue
            except TensorFileError:
                self._damaged.add(path)
        self._make_newest()

    def _check_version(self, path: Path, version: object) -> None:
        if version != self.version:
            raise StateError(
                f"{path} has version {str(version)[:20]}, this equipot resumes version "
                f"{self.version}; resume with the version that started the run"
            )


def _name_also(path: Path, name: Path) -> None:
    """Replace `name` by a hard link to `path`, atomically."""
    spare = unused_name(name)
    os.link(path, spare, follow_symlinks=False)
    try:
        os.replace(spare, name)
    finally:
        spare.unlink(missing_ok=True)  # remains if both names had the same inode
