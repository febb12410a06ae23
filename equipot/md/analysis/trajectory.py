"""A trajectory as arrays: equally spaced frames, unwrapped positions, velocities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import fs
from jaxtyping import Bool, Float, Int

from equipot.data.reading.frames import iterate_frames
from equipot.md.velocities import conserved_momenta, drift_energy, movable
from equipot.storage.provenance import SHA256

MAX_INTERVAL_DIFFERENCE = 1e-4
"""Largest relative difference of intervals between frames that counts as rounding."""
MAX_UNAMBIGUOUS_DISPLACEMENT = 0.35
"""Largest displacement between frames, in lattice vectors, that is unwrapped
unambiguously."""
MAX_RIGID_MOTION_SHARE = 1e-4
"""Share of the kinetic energy in conserved rigid motions that counts as zero."""


@dataclass(frozen=True)
class Trajectory:
    """Frames of one system, equally spaced in time."""

    source: str
    """Name of the file, for titles."""
    numbers: Int[np.ndarray, " atoms"]
    masses: Float[np.ndarray, " atoms"]
    """Masses in u."""
    free: Bool[np.ndarray, " atoms"]
    """Mask of the atoms that are not fixed."""
    pbc: Bool[np.ndarray, "3"]
    cells: Float[np.ndarray, "frames 3 3"]
    """Lattice vectors in Å, as rows."""
    positions: Float[np.ndarray, "frames atoms 3"]
    """Unwrapped positions in Å."""
    velocities: Float[np.ndarray, "frames atoms 3"] | None
    """Velocities in Å/fs; None if the frames have no momenta."""
    energies: Float[np.ndarray, " frames"] | None
    """Potential energy of the cell in eV; None if the frames have none."""
    pressures: Float[np.ndarray, " frames"] | None
    """Virial part of the pressure in eV/Å^3; None if the frames have no stress."""
    interval: float | None
    """Time between frames in ps; None if not known."""
    degrees_of_freedom: int
    """Number of thermal degrees of freedom."""
    notes: tuple[str, ...] = ()
    """Notes for the user."""
    models: tuple[str, ...] = ()
    """SHA-256 of the models stored in the frames."""

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.positions)

    @property
    def elements(self) -> list[int]:
        """Atomic numbers of the system, in ascending order."""
        return [int(z) for z in np.unique(self.numbers)]

    @property
    def volumes(self) -> Float[np.ndarray, " frames"] | None:
        """Volume of the cell in Å^3; None unless the system is 3D-periodic."""
        return np.abs(np.linalg.det(self.cells)) if self.pbc.all() else None


def read_trajectory(
    path: Path,
    *,
    interval: float | None = None,
    discard: float = 0.0,
    wrapped: bool | None = None,
) -> Trajectory:
    """Read a trajectory and unwrap its positions.

    Args:
        path: Extended XYZ, ASE trajectory, or another format of ASE.
        interval: Time between frames in ps; by default from ``time_ps`` of the frames.
        discard: Time in ps to leave out at the beginning.
        wrapped: Whether positions are wrapped into the cell; detected by default.

    Raises:
        ValueError: If frames have different atoms or unequal intervals, or are too far
            apart to detect wrapping.
    """
    frames = list(iterate_frames(path))
    first = frames[0]
    for n, frame in enumerate(frames):
        if not np.array_equal(frame.numbers, first.numbers) or not np.array_equal(
            frame.pbc, first.pbc
        ):
            raise ValueError(
                f"{path}#{n} has atoms or periodic directions that differ from those "
                "of frame 0; expected the frames of one run"
            )
        if not np.isfinite(frame.positions).all():
            raise ValueError(f"{path}#{n}: a position is not finite")
    interval = _interval(frames, interval, path)
    frames = _after(frames, interval, discard, path)
    cells = np.array([frame.cell.array for frame in frames])
    raw = np.array([frame.positions for frame in frames])
    positions, notes = unwrap(raw, cells, first.pbc, wrapped)
    if interval is None and len(frames) > 1:
        notes.append(
            "the frames have no time_ps: diffusion and spectrum are not computed; set "
            "the time between frames with --interval"
        )
    return Trajectory(
        source=str(path),
        numbers=first.numbers.astype(np.int64),
        masses=first.get_masses(),
        free=movable(first),
        pbc=first.pbc,
        cells=cells,
        positions=positions,
        velocities=_velocities(frames),
        energies=_energies(frames),
        pressures=_pressures(frames),
        interval=interval,
        degrees_of_freedom=_degrees_of_freedom(frames),
        notes=tuple(notes),
        models=_models(frames),
    )


def _models(frames: Sequence[Atoms]) -> tuple[str, ...]:
    named = [str(f.info[SHA256]).split(",") for f in frames if SHA256 in f.info]
    return tuple(dict.fromkeys(sha256 for names in named for sha256 in names))


def unwrap(
    positions: Float[np.ndarray, "frames atoms 3"],
    cells: Float[np.ndarray, "frames 3 3"],
    pbc: Bool[np.ndarray, "3"],
    wrapped: bool | None = None,
) -> tuple[Float[np.ndarray, "frames atoms 3"], list[str]]:
    """Unwrap positions: make them continuous across periodic boundaries.

    Displacements between successive frames are evaluated in the mean of both cells and
    summed, so that a fluctuating cell does not displace atoms far from its origin.

    Args:
        positions: Positions in Å.
        cells: Lattice vectors in Å, as rows.
        pbc: Periodic directions.
        wrapped: Whether positions are wrapped; if None, a jump of more than half of a
            lattice vector counts as wrapping, and ambiguous jumps are refused.

    Returns:
        Unwrapped positions, and notes on the changes.

    Raises:
        ValueError: If `wrapped` is None and a jump is ambiguous.
    """
    if len(positions) < 2 or not pbc.any():
        return positions, []
    complete = [_completed(cell, pbc) for cell in cells]
    scaled = np.array(
        [np.linalg.solve(c.T, x.T).T for c, x in zip(complete, positions, strict=True)]
    )
    steps = np.diff(scaled, axis=0)
    images = np.where(pbc, np.round(steps), 0.0)
    notes = []
    if wrapped is not False and (wrapped or images.any()):
        rest = np.abs((steps - images)[..., pbc])
        if rest.max() > MAX_UNAMBIGUOUS_DISPLACEMENT:
            raise ValueError(
                f"between two frames an atom moves by {rest.max():.2f} of a lattice "
                "vector, or by a periodic image of that: the frames are too far apart "
                "to unwrap the trajectory; write frames more often, or pass "
                "--unwrapped if positions are not wrapped into the cell"
            )
        steps = steps - images
        if images.any():
            notes.append(
                f"the trajectory is wrapped: {int(np.abs(images).sum())} crossings of "
                "the periodic boundary were unwrapped"
            )
    middle = (np.array(complete)[1:] + np.array(complete)[:-1]) / 2
    moves = np.einsum("tai,tij->taj", steps, middle)
    start = positions[:1]
    return np.concatenate([start, start + np.cumsum(moves, axis=0)]), notes


def _completed(
    cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    """Cell of full rank, with unit vectors in directions without a lattice vector."""
    atoms = Atoms(cell=cell, pbc=pbc)
    complete: np.ndarray = atoms.cell.complete().array
    return complete


def _interval(frames: list[Atoms], given: float | None, path: Path) -> float | None:
    if len(frames) < 2:
        return given
    times = [frame.info.get("time_ps") for frame in frames]
    if any(not isinstance(t, int | float | np.number) for t in times):
        return given
    steps = np.diff(np.array(times, dtype=float))
    first = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - first) > MAX_INTERVAL_DIFFERENCE * abs(first))
    if first <= 0 or len(odd):
        n = int(odd[0]) if len(odd) else 0
        raise ValueError(
            f"{path}: frames {n} and {n + 1} are {steps[n]:g} ps apart, others "
            f"{first:g} ps; expected equal intervals: split the file, or thin it out "
            "evenly"
        )
    if given is not None and abs(given - first) > MAX_INTERVAL_DIFFERENCE * first:
        raise ValueError(
            f"{path}: --interval is {given * 1000:g} fs, but the frames are "
            f"{first * 1000:g} fs apart by their time_ps; leave out --interval"
        )
    return float(steps.mean())


def _after(
    frames: list[Atoms], interval: float | None, discard: float, path: Path
) -> list[Atoms]:
    if discard <= 0:
        return frames
    if interval is None:
        raise ValueError(
            f"{path}: --discard needs the time between frames; set --interval"
        )
    first = int(np.ceil(discard / interval - 1e-6))
    if first >= len(frames):
        raise ValueError(
            f"{path}: --discard is {discard:g} ps, but the trajectory is only "
            f"{interval * (len(frames) - 1):g} ps long"
        )
    return frames[first:]


def _velocities(frames: Sequence[Atoms]) -> Float[np.ndarray, "frames atoms 3"] | None:
    if not all(frame.has("momenta") for frame in frames):
        return None
    velocities = np.array([frame.get_velocities() for frame in frames]) * fs
    return velocities if velocities.any() else None


def _results(frames: Sequence[Atoms], name: str) -> list[np.ndarray] | None:
    found = [None if f.calc is None else f.calc.results.get(name) for f in frames]
    kept = [np.asarray(value) for value in found if value is not None]
    return kept if len(kept) == len(frames) else None


def _energies(frames: Sequence[Atoms]) -> Float[np.ndarray, " frames"] | None:
    values = _results(frames, "energy")
    return None if values is None else np.array([float(v) for v in values])


def _pressures(frames: Sequence[Atoms]) -> Float[np.ndarray, " frames"] | None:
    values = _results(frames, "stress")
    if values is None:
        return None
    traces = [np.trace(v) if v.shape == (3, 3) else v[:3].sum() for v in values]
    return -np.array(traces, dtype=float) / 3


def _degrees_of_freedom(frames: Sequence[Atoms]) -> int:
    """Thermal degrees of freedom; conserved momenta count unless zero in all frames."""
    momenta = 3 * int(movable(frames[0]).sum())
    if not all(frame.has("momenta") for frame in frames):
        return momenta
    drifts = all(
        drift_energy(frame) <= MAX_RIGID_MOTION_SHARE * frame.get_kinetic_energy()
        for frame in frames
    )
    return momenta - conserved_momenta(frames[0]) if drifts else momenta
