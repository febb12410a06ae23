"""Writers of states, logs and trajectories without a run, to be killed in tests."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import torch
from ase.build import bulk

from equipot.md.recorder import TRAJECTORY_WRITERS, ThermoLog
from equipot.storage.rotation import RotatingCheckpoints


def save_states(folder: Path, kind: str, steps: Sequence[int]) -> None:
    """Load the state of a folder if there is one, and save others after it."""
    states = RotatingCheckpoints(folder, kind, version=1)
    if states.exist():
        states.load(print)
    for step in steps:
        states.save({"step": step}, {"weight": torch.full((40,), float(step))})


def record(folder: Path, form: str, frames: int) -> None:
    """Append frames to a trajectory and rows to a log.

    Args:
        folder: Of both.
        form: Of the trajectory.
        frames: How many.
    """
    log = ThermoLog(folder / "log.csv", ("step", "energy"))
    trajectory = TRAJECTORY_WRITERS[form](folder / f"trajectory.{form}")
    with closing(trajectory):
        for step in range(frames):
            log.write({"step": step, "energy": -0.1 * step})
            trajectory.write(bulk("Cu") * (step + 1, 1, 1))
