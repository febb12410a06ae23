"""Velocity autocorrelation and the vibrational density of states."""

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float
from scipy.signal import welch

from equipot.md.analysis.correlation import autocorrelation
from equipot.md.analysis.trajectory import Trajectory

UNRESOLVED = 0.05
"""Mean square difference between velocities and displacements of the same interval,
relative to the velocities: five frames in a period give 0.025, four give 0.075."""
SHORTEST = 32
"""Frames; fewer give no spectrum."""
SEGMENTS = 4
"""Parts of a long trajectory, half of which overlap, that are averaged."""
LONG = 1024
"""Frames from which a trajectory is cut into parts."""
CM_PER_THZ = 33.35640951981521
FS_PER_PS = 1000


@dataclass(frozen=True)
class Spectrum:
    """Vibrations from the motion of atoms, mass-weighted."""

    lags: Float[np.ndarray, " lags"]
    """In ps."""
    correlation: Float[np.ndarray, " lags"]
    """Velocity autocorrelation, 1 at the start."""
    frequencies: Float[np.ndarray, " frequencies"]
    """In THz."""
    states: dict[str, Float[np.ndarray, " frequencies"]]
    """Density of states in 1/THz by element; together they have the integral 1."""
    resolution: float
    """Width of a line in THz."""

    @property
    def total(self) -> Float[np.ndarray, " frequencies"]:
        """Of all elements."""
        return np.sum(list(self.states.values()), axis=0)


def spectrum(trajectory: Trajectory) -> Spectrum:
    """Power spectrum of the velocities, by Welch's method with Hann windows.

    Args:
        trajectory: With velocities and a known time between frames. Fixed atoms are
            left out.

    Raises:
        ValueError: If velocities or times are missing, or frames are so far apart that
            fast vibrations would appear at wrong frequencies.
    """
    velocities, interval = trajectory.velocities, trajectory.interval
    if velocities is None or interval is None:
        raise ValueError(
            "a spectrum needs velocities (the column momenta) and the time between "
            "frames"
        )
    if len(trajectory) < SHORTEST:
        raise ValueError(
            f"a spectrum needs {SHORTEST} frames or more, got {len(trajectory)}"
        )
    free = trajectory.free
    missed = _unresolved(trajectory, velocities, interval)
    if missed > UNRESOLVED:
        raise ValueError(
            f"frames are {interval * FS_PER_PS:g} fs apart, and between them atoms do "
            f"not move as their velocities say (difference {missed:.2g}, expected at "
            f"most {UNRESOLVED:g}): fast vibrations would appear at wrong frequencies; "
            "write frames more often, at least five in the shortest period "
            "(record.trajectory)"
        )
    weighted = velocities * np.sqrt(trajectory.masses)[:, None]
    series = weighted[:, free].reshape(len(trajectory), -1)
    correlation = autocorrelation(series).sum(axis=1)[: len(trajectory) // 2]
    long = len(trajectory) >= LONG
    length = len(trajectory) // SEGMENTS if long else len(trajectory)
    states = {}
    for element in trajectory.elements:
        chosen = (trajectory.numbers == element) & free
        if chosen.any():
            frequencies, power = welch(
                weighted[:, chosen].reshape(len(trajectory), -1),
                fs=1 / interval,
                nperseg=length,
                detrend=False,
                axis=0,
            )
            states[chemical_symbols[element]] = power.sum(axis=1)
    spacing = float(frequencies[1])
    norm = sum(float(s.sum()) for s in states.values()) * spacing
    return Spectrum(
        lags=np.arange(len(correlation)) * interval,
        correlation=correlation / correlation[0],
        frequencies=frequencies,
        states={name: power / norm for name, power in states.items()},
        resolution=1.5 * spacing,
    )


def _unresolved(
    trajectory: Trajectory,
    velocities: Float[np.ndarray, "frames atoms 3"],
    interval: float,
) -> float:
    """How far displacements are from the mean velocity of their interval."""
    moved = np.diff(trajectory.positions, axis=0) / (interval * FS_PER_PS)
    mean = (velocities[1:] + velocities[:-1]) / 2
    weights = (trajectory.masses * trajectory.free)[:, None]
    difference = (weights * (moved - mean) ** 2).sum()
    return float(difference / max((weights * mean**2).sum(), 1e-300))
