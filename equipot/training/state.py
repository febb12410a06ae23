"""The state of a run on disk: one file of tensors, and older generations of it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from equipot.tensor_file import TensorFileError, read_tensor_file, write_tensor_file

KIND: Final = "training state"
VERSION: Final = 1


class StateError(ValueError):
    """A state of a run that is missing, damaged, or not of this run."""


@dataclass(frozen=True)
class State:
    """All that a run needs to go on exactly as if it had never stopped."""

    tensors: dict[str, Tensor]
    """Weights, averages, optimizer and random generators by dotted name."""
    record: dict[str, Any]
    """Position, sums, history, configuration and hashes of the data: JSON."""


class StateFiles:
    """Generations of the state in a directory, newest first.

    ``state.safetensors`` is the newest, ``state.1.safetensors`` the one before, and so
    on. A file is complete before it gets its name; its checksum tells whether it was
    damaged later.

    Args:
        directory: Where the files are.
        keep: Number of generations.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory = directory
        self.paths = [directory / "state.safetensors"] + [
            directory / f"state.{n}.safetensors" for n in range(1, keep)
        ]

    def exist(self) -> bool:
        """Whether there is any generation."""
        return any(path.exists() for path in self.paths)

    def save(self, state: State) -> None:
        """Write the newest generation; the oldest is dropped."""
        fresh = self.directory / "state.new.safetensors"
        header = {"version": VERSION, "record": state.record}
        write_tensor_file(fresh, KIND, header, state.tensors)
        for older, newer in zip(self.paths[:0:-1], self.paths[-2::-1], strict=True):
            if newer.exists():
                os.replace(newer, older)
        os.replace(fresh, self.paths[0])

    def load(self, complain: Callable[[str], None]) -> State:
        """Read the newest generation that is intact.

        Args:
            complain: Called with a message for each one that is not.

        Raises:
            StateError: If none is.
        """
        for path in self.paths:
            try:
                return read_state(path)
            except FileNotFoundError:
                complain(f"{path} is missing; trying the state before it")
            except TensorFileError as error:
                complain(f"{error}; trying the state before it")
        raise StateError(
            f"{self.directory} holds no intact state; start the run anew in another "
            "directory"
        )


def read_state(path: Path) -> State:
    """State that a file holds.

    Raises:
        FileNotFoundError: If there is no file.
        TensorFileError: If it is damaged or something else.
        StateError: If another version wrote it.
    """
    header, tensors = read_tensor_file(path, KIND)
    if header["version"] != VERSION:
        raise StateError(
            f"{path} has version {header['version']}, this equipot resumes version "
            f"{VERSION}; resume with the equipot that started the run"
        )
    return State(tensors, header["record"])


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under ``prefix.name``."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of `with_prefix`; other tensors are left out."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }
