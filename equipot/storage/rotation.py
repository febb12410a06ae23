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
    """A state of a run that is missing, damaged, or not of this run."""


class Generations:
    """States of one run in a folder, newest first.

    ``state.safetensors`` is the newest, ``state.1.safetensors`` the one before, and so
    on. A file is complete before it gets its name; its checksum tells whether it was
    damaged later. It is ``state.new.safetensors`` until the others have made room: what
    a process left there that was killed meanwhile becomes the newest when it is loaded.

    Args:
        folder: Where the files are.
        kind: What the files hold, such as ``"training state"``.
        version: Of what is in them; no other is read.
        keep: Number of generations.
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
        """Whether there is any generation."""
        return any(path.exists() for path in (self._fresh, *self.paths))

    def save(self, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write the newest generation; the oldest is dropped.

        Args:
            record: JSON values.
            tensors: Stored bit for bit.
        """
        header = {"version": self.version, "record": record}
        write_tensor_file(self._fresh, self.kind, header, tensors)
        self._make_newest()

    def _make_newest(self) -> None:
        for older, newer in zip(self.paths[:0:-1], self.paths[-2::-1], strict=True):
            # A damaged one must not take the place of the one that the run came from.
            if newer.exists() and newer not in self._damaged:
                _name_also(newer, older)
        os.replace(self._fresh, self.paths[0])
        sync_folder(self.folder)
        self._damaged.clear()

    def load(
        self, complain: Callable[[str], None]
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Record and tensors of the newest generation that is intact.

        Args:
            complain: Called with a message for each one that is not.

        Raises:
            StateError: If none is, or another version wrote it.
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
                    complain(f"{message}; going on from the state before it")
                self._check_version(path, header["version"])
                if path == self._fresh:
                    self._finish_saving()
                self._fresh.unlink(missing_ok=True)
                return header["record"], tensors
        raise StateError(
            f"{self.folder} holds no intact state; start the run anew in another "
            "folder:\n  " + "\n  ".join(damage)
        )

    def _read(self, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        header, tensors = read_tensor_file(path, self.kind)
        if "version" not in header or not isinstance(header.get("record"), dict):
            raise TensorFileError(f"{path} is damaged: it has no version or no record")
        return header, tensors

    def _finish_saving(self) -> None:
        """Do what a process that was killed had left to do."""
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
                f"{self.version}; resume with the equipot that started the run"
            )


def _name_also(path: Path, name: Path) -> None:
    """Give a file a second name, so that at no moment it has none."""
    spare = unused_name(name)
    os.link(path, spare, follow_symlinks=False)
    try:
        os.replace(spare, name)
    finally:
        spare.unlink(missing_ok=True)  # stays if both were names of one file already
