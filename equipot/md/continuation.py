"""Conditions for resuming a run: the same physics and the same precision."""

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
"""Sections of a configuration that define the course of a run."""


def fingerprint_of_run(config: MDConfig, calculator: str) -> dict[str, Any]:
    """What must not change between a state and its continuation.

    Args:
        config: Of the run.
        calculator: Identity of the calculator.

    Returns:
        JSON values: ``physics`` must agree, ``environment`` should.
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
    """Compare a state with the run that wants to continue it.

    Args:
        folder: Of the run.
        stored: `fingerprint_of_run` when the state was written.
        present: `fingerprint_of_run` now.

    Returns:
        Differences after which results agree to rounding, not bit for bit.

    Raises:
        ValueError: If the physics differs.
    """
    changed = _differences(stored["physics"], present["physics"])
    if changed:
        raise ValueError(
            f"the run in {folder} cannot be continued, it was another:\n"
            + "\n".join(f"  {line}" for line in changed)
            + "\nGo back to its values, or start a new run with another --output"
        )
    return [
        f"{line}: the continuation will agree to rounding errors, not bit for bit"
        for line in _differences(stored["environment"], present["environment"])
    ]


def _differences(stored: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} was {stored.get(name)!r}, is {present.get(name)!r}"
        for name in sorted({*stored, *present})
        if stored.get(name) != present.get(name)
    ]
