"""Time and memory of large systems, extrapolated from measurements of small ones."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms

from equipot.bench.model_comparison import CallCost

MIN_SIZES: Final = 4
"""Fewest systems that are measured: three for a line, and another to test it."""
FITTED_SIZES: Final = 3
"""Largest systems that determine a line."""
MAX_MEMORY_FRACTION: Final = 0.5
"""No system is measured that may need more of the available memory."""
GROWTH: Final = 2.5
"""Assumed ratio of the costs of a system and of the previous one."""


@dataclass(frozen=True)
class Sample:
    """A measured system."""

    num_atoms: int
    num_edges: int
    """Directed pairs within the cutoff."""
    seconds: float
    """Median wall-clock time of a step."""
    spread: float
    """Half of the difference between the quartiles, over the median."""
    peak_bytes: int
    """Peak memory of the process."""


@dataclass(frozen=True)
class Line:
    """Linear function of the number of edges."""

    intercept: float
    slope: float

    def __call__(self, edges: float) -> float:
        """Value for a number of edges."""
        return self.intercept + self.slope * edges


@dataclass(frozen=True)
class Forecast:
    """Predicted cost of a system, with expected relative errors."""

    num_atoms: int
    seconds: float
    """Wall-clock time of a step."""
    seconds_error: float
    peak_bytes: float
    """Peak memory of the process."""
    peak_error: float

    def nanoseconds_per_day(self, timestep: float) -> float:
        """Simulated time in a day.

        Args:
            timestep: In fs.
        """
        return 86400 / self.seconds * timestep * 1e-6


@dataclass(frozen=True)
class Plan:
    """Lines through the largest measured systems.

    Raises:
        ValueError: If there are too few systems.
    """

    samples: tuple[Sample, ...]
    """Measured systems of growing size, at least `MIN_SIZES`."""
    edges_per_atom: float
    """Of the systems to predict."""

    def __post_init__(self) -> None:
        if len(self.samples) < MIN_SIZES:
            raise ValueError(
                f"expected at least {MIN_SIZES} measured systems, got "
                f"{len(self.samples)}: there is not enough free memory for more"
            )

    def forecast(self, num_atoms: int) -> Forecast:
        """Cost of a system of `edges_per_atom`.

        It is interpolated up to the largest measured system, and extrapolated beyond
        it. Then, expected errors are the change of the prediction if the largest
        system had not been measured; they are at least the spread of the times.

        Args:
            num_atoms: Number of atoms.
        """
        edges = num_atoms * self.edges_per_atom
        seconds, seconds_error = self._extrapolated("seconds", edges)
        peak, peak_error = self._extrapolated("peak_bytes", edges)
        spread = max(sample.spread for sample in self.samples[-FITTED_SIZES:])
        return Forecast(
            num_atoms, seconds, max(seconds_error, spread), peak, peak_error
        )

    def atoms_that_fit(self, available: int) -> int | None:
        """Largest number of atoms, or None if memory was not seen to grow.

        Args:
            available: Memory in bytes for the process.
        """
        line = self._line("peak_bytes", self.samples)
        if line.slope <= 0:
            return None
        edges = (available - line.intercept) / line.slope
        return max(0, math.floor(edges / self.edges_per_atom))

    def _extrapolated(self, quantity: str, edges: float) -> tuple[float, float]:
        """Value, and its relative change without the largest sample."""
        measured = [sample.num_edges for sample in self.samples]
        values = [float(getattr(sample, quantity)) for sample in self.samples]
        if edges <= measured[-1]:
            return float(np.interp(edges, measured, values)), 0.0
        value = max(values[-1], self._line(quantity, self.samples)(edges))
        without = self._line(quantity, self.samples[:-1])(edges)
        return value, abs(without / value - 1)

    @staticmethod
    def _line(quantity: str, samples: Sequence[Sample]) -> Line:
        last = samples[-FITTED_SIZES:]
        edges = [float(sample.num_edges) for sample in last]
        return fit_line(edges, [float(getattr(sample, quantity)) for sample in last])


def fit_line(edges: Sequence[float], values: Sequence[float]) -> Line:
    """Line with the least sum of squared relative errors.

    Args:
        edges: Number of edges of each system.
        values: Positive values.
    """
    weights = 1 / np.asarray(values, dtype=float)
    columns = np.stack([weights, weights * np.asarray(edges, dtype=float)], axis=1)
    scale = np.abs(columns).max(axis=0)
    solution = np.linalg.lstsq(columns / scale, np.ones(len(weights)), rcond=None)[0]
    intercept, slope = (solution / scale).tolist()
    return Line(intercept, slope)


def measure_samples(
    structures: Iterable[Atoms],
    measure: Callable[[Atoms], CallCost],
    edges: Callable[[Atoms], int],
    *,
    available: int,
    seconds: float,
) -> tuple[Sample, ...]:
    """Measure systems of growing size until time or memory are used up.

    Args:
        structures: Systems of growing size.
        measure: Cost of a step of a system.
        edges: Number of edges of a system.
        available: Available memory in bytes.
        seconds: Time for all measurements; `MIN_SIZES` systems are measured in any
            case, if there is memory.
    """
    samples: list[Sample] = []
    start = last = time.monotonic()
    for atoms in structures:
        cost = measure(atoms)
        spread = (cost.wall.high - cost.wall.low) / (2 * cost.wall.median)
        samples.append(
            Sample(len(atoms), edges(atoms), cost.wall.median, spread, cost.peak_bytes)
        )
        now = time.monotonic()
        late = now - start + GROWTH * (now - last) > seconds
        growing = cost.peak_bytes - cost.loaded_bytes
        needed = cost.loaded_bytes + GROWTH * growing
        if needed > MAX_MEMORY_FRACTION * available:
            break
        if late and len(samples) >= MIN_SIZES:
            break
        last = now
    return tuple(samples)
