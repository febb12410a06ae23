"""Optimizers of many structures at once, each with its own state.

The steps of a structure are those of the optimizer of ASE of the same name, up to
rounding, and do not depend on the other structures.
"""

from abc import ABC, abstractmethod
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Int

from equipot.workflows.ragged_rows import PerStructure, RaggedRows, Rows

CURVATURE: Final = 70.0
"""Curvature in eV/Å^2 of the first step of L-BFGS, as in ASE."""

HISTORY: Final = 100
"""Largest number of previous steps that L-BFGS uses, as in ASE."""

FIRST_TIME_STEP: Final = 0.1
"""Parameters of FIRE, as in ASE and in the paper: time step at the start and its upper
bound, mixing of the velocity with the force at the start, factors of these two, and
number of downhill steps before they change."""
MAX_TIME_STEP: Final = 1.0
FIRST_MIXING: Final = 0.1
MIXING_FACTOR: Final = 0.99
FASTER: Final = 1.1
SLOWER: Final = 0.5
MIN_DOWNHILL: Final = 5


class BatchedOptimizer(ABC):
    """Optimizer of several structures.

    Args:
        counts: Number of rows of each structure.
        max_steps: Largest step of each structure.
    """

    def __init__(
        self, counts: Int[np.ndarray, " structures"], max_steps: PerStructure
    ) -> None:
        self.rows = RaggedRows(counts)
        self.max_steps = max_steps

    @abstractmethod
    def step(self, positions: Rows, forces: Rows) -> Rows:
        """Displacements of the next step of all structures.

        Args:
            positions: Current coordinates.
            forces: Forces at these coordinates.
        """

    def keep(self, keep: Bool[np.ndarray, " structures"]) -> None:
        """Remove the other structures.

        Args:
            keep: Whether each structure stays.
        """
        self._keep_rows(self.rows.rows_of(keep), keep)
        self.max_steps = self.max_steps[keep]
        self.rows = self.rows.kept(keep)

    @abstractmethod
    def _keep_rows(
        self, rows: Bool[np.ndarray, " rows"], keep: Bool[np.ndarray, " structures"]
    ) -> None:
        """Remove the state of the other structures."""

    def _bounded(self, steps: Rows, sizes: PerStructure) -> Rows:
        """Steps scaled down where their size is above the bound."""
        return self.rows.times(
            self.max_steps / np.maximum(sizes, self.max_steps), steps
        )


@final
class BatchedFIRE(BatchedOptimizer):
    """Fast inertial relaxation engine; the bound is on the norm of the whole step.

    Args:
        counts: Number of rows of each structure.
        max_steps: Largest step of each structure.

    Source:
        E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006).
    """

    def __init__(
        self, counts: Int[np.ndarray, " structures"], max_steps: PerStructure
    ) -> None:
        super().__init__(counts, max_steps)
        self._velocity: Rows = np.zeros((int(counts.sum()), 3))
        self._time_step: PerStructure = np.full(len(counts), FIRST_TIME_STEP)
        self._mixing: PerStructure = np.full(len(counts), FIRST_MIXING)
        self._downhill: Int[np.ndarray, " structures"] = np.zeros(len(counts), int)
        self._begun = False

    def step(self, positions: Rows, forces: Rows) -> Rows:
        """Displacements of the next step; see `BatchedOptimizer.step`."""
        del positions
        if self._begun:
            self._turn(forces)
        self._begun = True
        self._velocity = self._velocity + self.rows.times(self._time_step, forces)
        steps = self.rows.times(self._time_step, self._velocity)
        return self._bounded(steps, self.rows.norm(steps))

    def _turn(self, forces: Rows) -> None:
        """Turn velocities that go downhill towards the forces; stop the others."""
        power = self.rows.dot(forces, self._velocity) > 0
        size = self.rows.norm(forces)
        # without a force, the structure is at rest
        pull = (
            self._mixing * self.rows.norm(self._velocity) / np.where(size > 0, size, 1)
        )
        turned = self.rows.times(1 - self._mixing, self._velocity)
        turned += self.rows.times(pull, forces)
        self._velocity = np.where(self.rows.rows_of(power)[:, None], turned, 0.0)
        faster = power & (self._downhill > MIN_DOWNHILL)
        grown = np.minimum(self._time_step * FASTER, MAX_TIME_STEP)
        self._time_step = np.where(
            power, np.where(faster, grown, self._time_step), self._time_step * SLOWER
        )
        self._mixing = np.where(
            power,
            np.where(faster, self._mixing * MIXING_FACTOR, self._mixing),
            FIRST_MIXING,
        )
        self._downhill = np.where(power, self._downhill + 1, 0)

    def _keep_rows(
        self, rows: Bool[np.ndarray, " rows"], keep: Bool[np.ndarray, " structures"]
    ) -> None:
        self._velocity = self._velocity[rows]
        self._time_step = self._time_step[keep]
        self._mixing = self._mixing[keep]
        self._downhill = self._downhill[keep]


@final
class BatchedLBFGS(BatchedOptimizer):
    """Limited-memory BFGS; the bound is on the longest row of a step.

    Steps along which the curvature is not positive are not used, since they would turn
    later steps uphill.

    Args:
        counts: Number of rows of each structure.
        max_steps: Largest step of each structure.

    Source:
        J. Nocedal and S. J. Wright, *Numerical Optimization* (Springer, 2006),
        algorithm 7.4.
    """

    def __init__(
        self, counts: Int[np.ndarray, " structures"], max_steps: PerStructure
    ) -> None:
        super().__init__(counts, max_steps)
        self._moved: list[Rows] = []
        self._changed: list[Rows] = []
        self._softness: list[PerStructure] = []
        self._last: tuple[Rows, Rows] | None = None

    def step(self, positions: Rows, forces: Rows) -> Rows:
        """Displacements of the next step; see `BatchedOptimizer.step`."""
        if self._last is not None:
            self._remember(positions - self._last[0], self._last[1] - forces)
        self._last = positions, forces
        steps = self._direction(forces)
        return self._bounded(steps, self.rows.longest(steps))

    def _remember(self, moved: Rows, changed: Rows) -> None:
        """Add a step and the change of the gradient along it to the history."""
        curvature = self.rows.dot(moved, changed)
        positive = curvature > 0
        self._moved.append(moved)
        self._changed.append(changed)
        self._softness.append(
            np.where(positive, 1 / np.where(positive, curvature, 1.0), 0.0)
        )
        if len(self._moved) > HISTORY:
            for history in (self._moved, self._changed, self._softness):
                history.pop(0)

    def _direction(self, forces: Rows) -> Rows:
        """Inverse Hessian times forces, by the two-loop recursion."""
        rest = forces
        weights = []
        history = list(zip(self._moved, self._changed, self._softness, strict=True))
        for moved, changed, softness in reversed(history):
            weights.append(softness * self.rows.dot(moved, rest))
            rest = rest - self.rows.times(weights[-1], changed)
        found = rest / CURVATURE
        for (moved, changed, softness), weight in zip(
            history, reversed(weights), strict=True
        ):
            excess = weight - softness * self.rows.dot(changed, found)
            found = found + self.rows.times(excess, moved)
        return found

    def _keep_rows(
        self, rows: Bool[np.ndarray, " rows"], keep: Bool[np.ndarray, " structures"]
    ) -> None:
        self._moved = [moved[rows] for moved in self._moved]
        self._changed = [changed[rows] for changed in self._changed]
        self._softness = [softness[keep] for softness in self._softness]
        if self._last is not None:
            positions, forces = self._last
            self._last = positions[rows], forces[rows]


OPTIMIZERS: Final[dict[str, type[BatchedOptimizer]]] = {
    "L-BFGS": BatchedLBFGS,
    "FIRE": BatchedFIRE,
}
"""Optimizers by name."""
