"""What an evaluation was made with: files, programs, machine, date."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch

import equipot
from equipot.data.dataset import sha256
from equipot.models.potential import Potential


@dataclass(frozen=True)
class Provenance:
    """Facts that a reader needs to repeat an evaluation."""

    model: str
    """Path of the model as it was given."""
    header: Mapping[str, Any]
    """Header of the model, with its hash."""
    data: Mapping[str, str]
    """SHA-256 of every data file."""
    environment: Mapping[str, str]
    """Date, versions, machine and arithmetic, as text by name."""
    notes: tuple[str, ...] = ()
    """What the reader has to know of how the data were read."""


def collect(
    model: Path,
    header: Mapping[str, Any],
    data: Sequence[Path],
    potential: Potential,
    *,
    backend: str,
    notes: Sequence[str] = (),
) -> Provenance:
    """Facts about an evaluation that is being made.

    Args:
        model: File of the model.
        header: Of the model.
        data: Files that are evaluated.
        potential: As loaded: it knows device and arithmetic.
        backend: Who computes its tensor products.
        notes: Passed on.

    Returns:
        The facts; reading them hashes the data files.
    """
    return Provenance(
        model=str(model),
        header=header,
        data={str(path): sha256(path) for path in data},
        environment={
            "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "equipot": equipot.__version__,
            "PyTorch": torch.__version__,
            "NumPy": np.__version__,
            "ASE": ase.__version__,
            "Python": platform.python_version(),
            "System": f"{platform.system()} {platform.machine()}",
            "Device": _device_name(potential.device),
            "Arithmetic": str(potential.dtype).removeprefix("torch."),
            "Backend": backend,
        },
        notes=tuple(notes),
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)"
