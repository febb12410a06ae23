"""State of a training run, from which it resumes bit for bit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

KIND: Final = "training state"
VERSION: Final = 1


@dataclass(frozen=True)
class State:
    """State of a training run, as stored by `equipot.storage.rotation`."""

    tensors: dict[str, Tensor]
    """Weights, averages, optimizer and random generator states by dotted name."""
    record: dict[str, Any]
    """TrainingProgress, sums, history, configuration and hashes of the data: JSON."""


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
