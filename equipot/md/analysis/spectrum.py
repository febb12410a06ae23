"""Velocity autocorrelation function and vibrational density of states."""

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float
from scipy.signal import welch

from equipot.md.analysis.correlation import autocorrelation
from equipot.md.analysis.trajectory import Trajectory
from equipot.units import FS_PER_PS

MAX_VELOCITY_MISMATCH = 0.05
"""Largest mean square difference between velocities and displacements over the same
interval, relative to the mean square velocity. Five frames per period give 0.025, four
give 0.075."""
MIN_FRAMES = 32
"""Smallest number of frames for a spectrum."""
NUM_SEGMENTS = 4
"""Number of half-overlapping segments of a long trajectory in Welch's method."""
MIN_SEGMENTED_FRAMES = 1024
"""Smallest number of frames of a trajectory that is divided into segments."""
CM_PER_THZ = 33.35640951981521


@dataclass(frozen=True)
class Spectrum:
    """Mass-weighted velocity autocorrelation function and density of states."""

    lags: Float[np.ndarray, " lags"]
    """Lags of `correlation` in ps."""
    correlation: Float[np.ndarray, " lags"]
    """Velocity autocorrelation function, normalized to 1 at lag 0."""
    frequencies: Float[np.ndarray, " frequencies"]
    """Frequencies of `states` in THz."""
    states: dict[str, Float[np.ndarray, " frequencies"]]
    """Density of states in 1/THz by element; the sum over elements integrates to 1."""
    resolution: float
    """Line width in THz."""

    @property
    def total(self) -> Float[np.ndarray, " frequencies"]:
        """Density of states of all elements in 1/THz."""
        return np.sum(list(self.states.values()), axis=0)


def spectrum(trajectory: Trajectory) -> Spectrum:
    """Power spectrum of the velocities, by Welch's method with Hann windows.

    Args:
        trajectory: Trajectory with velocities and a known time between frames. Fixed
            atoms are left out.

    Raises:
        ValueError: If velocities or times are missing, or the time between frames is
            too long for the fastest vibrations (aliasing).
    """
    velocities, interval = trajectory.velocities, trajectory.interval
    if velocities is None or interval is None:
        raise ValueError(
            "a spectrum needs velocities (the column momenta) and the time between "
            "frames"
        )
    if len(trajectory) < MIN_FRAMES:
        raise ValueError(
            f"a spectrum needs at least {MIN_FRAMES} frames, got {len(trajectory)}"
        )
    free = trajectory.free
    missed = _unresolved(trajectory, velocities, interval)
    if missed > MAX_VELOCITY_MISMATCH:
        raise ValueError(
            f"frames are {interval * FS_PER_PS:g} fs apart, and displacements between "
            f"them differ from the velocities by {missed:.2g} (mean square), expected "
            f"at most {MAX_VELOCITY_MISMATCH:g}: fast vibrations would appear at wrong "
            "frequencies; write at least five frames per shortest period "
            "(record.trajectory)"
        )
    weighted = velocities * np.sqrt(trajectory.masses)[:, None]
    series = weighted[:, free].reshape(len(trajectory), -1)
    correlation = autocorrelation(series).sum(axis=1)[: len(trajectory) // 2]
    long = len(trajectory) >= MIN_SEGMENTED_FRAMES
    length = len(trajectory) // NUM_SEGMENTS if long else len(trajectory)
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
    """Relative mean square difference of displacements and mean velocities."""
    moved = np.diff(trajectory.positions, axis=0) / (interval * FS_PER_PS)
    mean = (velocities[1:] + velocities[:-1]) / 2
    weights = (trajectory.masses * trajectory.free)[:, None]
    difference = (weights * (moved - mean) ** 2).sum()
    return float(difference / max((weights * mean**2).sum(), 1e-300))
