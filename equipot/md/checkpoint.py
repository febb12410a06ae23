"""States of a run on disk: the newest two, each of them whole or not there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from equipot.tensor_file import TensorFileError, read_tensor_file, write_tensor_file

KIND = "state of a molecular dynamics run"
FORMAT_VERSION = 1
KEPT = 2
PREFIX = "state-"


@dataclass(frozen=True)
class State:
    """A state as it was read."""

    path: Path
    """File that it comes from."""
    arrays: dict[str, Shaped[np.ndarray, "..."]]
    """As given to `write_state`, bit for bit."""
    header: dict[str, Any]
    """As given to `write_state`, with its ``step``."""
    damaged: list[str]
    """What was wrong with newer files that were passed over."""


def write_state(
    folder: Path,
    step: int,
    arrays: Mapping[str, Shaped[np.ndarray, "..."]],
    header: Mapping[str, Any],
) -> Path:
    """Write a state beside the earlier ones and keep the newest two.

    Args:
        folder: Where states are kept; made if missing.
        step: Step of the run; names the file.
        arrays: Numerical state, stored to the bit.
        header: JSON values.

    Returns:
        Path of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{PREFIX}{step:012d}.safetensors"
    write_tensor_file(
        path,
        KIND,
        {"format_version": FORMAT_VERSION, "step": step, **header},
        {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()},
    )
    for old in _states(folder)[KEPT:]:
        old.unlink()
    return path


def read_newest_state(folder: Path) -> State:
    """Read the newest state that is whole.

    Args:
        folder: Where `write_state` wrote.

    Returns:
        The state, and what was wrong with newer ones.

    Raises:
        FileNotFoundError: If there is no state.
        ValueError: If none of the states is whole.
    """
    paths = _states(folder)
    if not paths:
        raise FileNotFoundError(
            f"nothing to resume: no {PREFIX}*.safetensors in {folder}; start the run "
            "without --resume"
        )
    damaged: list[str] = []
    for path in paths:
        try:
            header, tensors = read_tensor_file(path, KIND)
        except TensorFileError as error:
            damaged.append(str(error))
            continue
        if header["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"{path} has format version {header['format_version']}, this equipot "
                f"reads {FORMAT_VERSION}: finish the run with the equipot that began it"
            )
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        return State(path, arrays, header, damaged)
    raise ValueError("no state can be read:\n  " + "\n  ".join(damaged))


def has_states(folder: Path) -> bool:
    """Whether a run has left states in this folder."""
    return bool(_states(folder))


def _states(folder: Path) -> list[Path]:
    """States in a folder, newest first."""
    return sorted(folder.glob(f"{PREFIX}*.safetensors"), reverse=True)
