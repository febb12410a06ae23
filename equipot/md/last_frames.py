"""The last steps of a run, for the frames that an alarm writes."""

from collections import deque
from typing import final

import numpy as np
from ase import Atoms


@final
class LastFrames:
    """Ring buffer of the last steps of a run.

    Args:
        frames: Number of steps.
    """

    def __init__(self, frames: int) -> None:
        self._steps: deque[tuple[int, dict[str, np.ndarray]]] = deque(maxlen=frames)
        self._atoms: Atoms | None = None

    def keep(self, atoms: Atoms, step: int) -> None:
        """Append a step; the oldest one is dropped if the buffer is full.

        Only what dynamics changes is copied: positions, momenta and cell.

        Args:
            atoms: State after the step; the same atoms at every call.
            step: Step number, stored in ``info`` of the frame.
        """
        self._atoms = atoms
        arrays = {
            "positions": atoms.positions.copy(),
            "momenta": atoms.get_momenta(),
            "cell": atoms.cell.array.copy(),
        }
        self._steps.append((step, arrays))

    def frames(self) -> list[Atoms]:
        """Stored frames, oldest first."""
        return [self._frame(step, arrays) for step, arrays in self._steps]

    def _frame(self, step: int, arrays: dict[str, np.ndarray]) -> Atoms:
        if self._atoms is None:
            raise ValueError("no step was kept")
        frame: Atoms = self._atoms.copy()
        frame.set_cell(arrays["cell"])
        frame.set_positions(arrays["positions"], apply_constraint=False)
        frame.set_momenta(arrays["momenta"], apply_constraint=False)
        frame.info["step"] = step
        return frame
