"""Conditions for resuming a run, and for a bit-for-bit continuation."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch

from equipot.config.md import MDConfig

PHYSICS = (
    "structure",
    "ensemble",
    "timestep",
    "temperature",
    "ramp",
    "velocities",
    "fixed",
    "seed",
    "dtype",
)
"""Sections of a configuration that determine the trajectory of a run."""


def fingerprint_of_run(config: MDConfig, calculator: str) -> dict[str, Any]:
    """Fingerprint of a run, stored with its state and compared on resuming.

    Args:
        config: Configuration of the run.
        calculator: Fingerprint of the calculator.

    Returns:
        JSON values: ``physics``, which must be equal to resume, and ``environment``,
        which must be equal for a bit-for-bit continuation.
    """
    tree = config.model_dump(mode="json")
    return {
        "physics": {
            **{name: tree[name] for name in PHYSICS},
            "record.format": config.record.format,
            "calculator": calculator,
        },
        "environment": {
            "processor": platform.machine(),
            "device": config.device,
            "backend": config.backend,
            "frozen": config.frozen,
            "deterministic": config.deterministic,
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "ase": ase.__version__,
        },
    }


def check_continuation(
    folder: Path, stored: Mapping[str, Any], present: Mapping[str, Any]
) -> list[str]:
    """Compare the fingerprint of a stored state with that of the present run.

    Args:
        folder: Folder of the run, for messages.
        stored: `fingerprint_of_run` at the time the state was written.
        present: `fingerprint_of_run` of the present run.

    Returns:
        Differences of the environment, with which results agree up to rounding errors
        but not bit for bit.

    Raises:
        ValueError: If the physics differs.
    """
    changed = _differences(stored["physics"], present["physics"])
    if changed:
        raise ValueError(
            f"the run in {folder} cannot be continued with different settings:\n"
            + "\n".join(f"  {line}" for line in changed)
            + "\nRestore these values, or start a new run with another --output"
        )
    return [
        f"{line}: the continuation agrees up to rounding errors, not bit for bit"
        for line in _differences(stored["environment"], present["environment"])
    ]


def _differences(stored: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} was {stored.get(name)!r}, now {present.get(name)!r}"
        for name in sorted({*stored, *present})
        if stored.get(name) != present.get(name)
    ]
