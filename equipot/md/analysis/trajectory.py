"""A trajectory as arrays: equal times, unwrapped positions, velocities."""

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

UNEQUAL = 1e-4
"""Relative difference of times between frames that is rounding."""
CERTAIN = 0.35
"""Largest displacement between frames, in lattice vectors, that an image cannot be."""
AT_REST = 1e-4
"""Share of the kinetic energy in conserved rigid motions that counts as none."""


@dataclass(frozen=True)
class Trajectory:
    """Frames of one system at equal times."""

    source: str
    """File, for titles."""
    numbers: Int[np.ndarray, " atoms"]
    masses: Float[np.ndarray, " atoms"]
    """In u."""
    free: Bool[np.ndarray, " atoms"]
    """Atoms that are not fixed."""
    pbc: Bool[np.ndarray, "3"]
    cells: Float[np.ndarray, "frames 3 3"]
    """Rows are lattice vectors in Å."""
    positions: Float[np.ndarray, "frames atoms 3"]
    """Unwrapped, in Å."""
    velocities: Float[np.ndarray, "frames atoms 3"] | None
    """In Å/fs; None if frames have no momenta."""
    energies: Float[np.ndarray, " frames"] | None
    """Potential energy of the cell in eV; None if frames have none."""
    pressures: Float[np.ndarray, " frames"] | None
    """Virial part in eV/Å^3; None if frames have no stress."""
    interval: float | None
    """Time between frames in ps; None if it is not known."""
    degrees_of_freedom: int
    """Momenta that carry heat."""
    notes: tuple[str, ...] = ()
    """What the user should know."""
    models: tuple[str, ...] = ()
    """SHA-256 of the models that its frames name."""

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.positions)

    @property
    def elements(self) -> list[int]:
        """Atomic numbers that occur."""
        return [int(z) for z in np.unique(self.numbers)]

    @property
    def volumes(self) -> Float[np.ndarray, " frames"] | None:
        """Volume of the cell in Å^3; None without three periodic directions."""
        return np.abs(np.linalg.det(self.cells)) if self.pbc.all() else None


def read_trajectory(
    path: Path,
    *,
    interval: float | None = None,
    discard: float = 0.0,
    wrapped: bool | None = None,
) -> Trajectory:
    """Read all frames of a file.

    Args:
        path: Extended XYZ, ASE's trajectory, or another format of ASE.
        interval: Time between frames in ps; ``time_ps`` of the frames if left out.
        discard: Time in ps that is left out at the beginning.
        wrapped: Whether atoms that leave the cell come back on its other side; found
            if left out.

    Raises:
        ValueError: If frames hold other atoms or unequal times, or are too far apart
            to tell whether atoms were wrapped.
    """
    frames = list(iterate_frames(path))
    first = frames[0]
    for n, frame in enumerate(frames):
        if not np.array_equal(frame.numbers, first.numbers) or not np.array_equal(
            frame.pbc, first.pbc
        ):
            raise ValueError(
                f"{path}#{n} has other atoms or periodic directions than frame 0; "
                "expected the frames of one run"
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
            "the frames have no time_ps: give the time between frames with --interval; "
            "without it there is no diffusion and no spectrum"
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
    """Positions that go on where atoms leave a periodic cell.

    Displacements from frame to frame are added up in the cell half way between both, so
    that a cell that fluctuates does not move atoms that are far from its origin.

    Args:
        positions: In Å.
        cells: Rows are lattice vectors.
        pbc: Periodic directions.
        wrapped: Whether atoms were wrapped; if None, a jump over more than half of a
            lattice vector counts as wrapping, and frames that are too far apart to tell
            are refused.

    Returns:
        Positions, and what was done.

    Raises:
        ValueError: If that cannot be told.
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
        if rest.max() > CERTAIN:
            raise ValueError(
                f"between two frames an atom moves by {rest.max():.2f} of a lattice "
                "vector or by an image of that: the frames are too far apart to unwrap "
                "the trajectory; write frames more often, or say --unwrapped if atoms "
                "that leave the cell stay outside"
            )
        steps = steps - images
        if images.any():
            notes.append(
                f"the trajectory is wrapped: {int(np.abs(images).sum())} passages "
                "through the boundary were undone"
            )
    middle = (np.array(complete)[1:] + np.array(complete)[:-1]) / 2
    moves = np.einsum("tai,tij->taj", steps, middle)
    start = positions[:1]
    return np.concatenate([start, start + np.cumsum(moves, axis=0)]), notes


def _completed(
    cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    """A cell of full rank: unit vectors in directions without a lattice vector."""
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
    odd = np.flatnonzero(np.abs(steps - first) > UNEQUAL * abs(first))
    if first <= 0 or len(odd):
        n = int(odd[0]) if len(odd) else 0
        raise ValueError(
            f"{path}: frames {n} and {n + 1} are {steps[n]:g} ps apart, others "
            f"{first:g} ps; expected equal times: cut the file, or thin it out evenly"
        )
    if given is not None and abs(given - first) > UNEQUAL * first:
        raise ValueError(
            f"{path}: --interval is {given * 1000:g} fs, but the times of the frames "
            f"are {first * 1000:g} fs apart; leave it out"
        )
    return float(steps.mean())


def _after(
    frames: list[Atoms], interval: float | None, discard: float, path: Path
) -> list[Atoms]:
    if discard <= 0:
        return frames
    if interval is None:
        raise ValueError(f"{path}: to discard a time, give the --interval of frames")
    first = int(np.ceil(discard / interval - 1e-6))
    if first >= len(frames):
        raise ValueError(
            f"{path}: --discard leaves out {discard:g} ps, the trajectory has "
            f"{interval * (len(frames) - 1):g} ps"
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
    """Conserved momenta count as heat unless they are zero in all frames."""
    momenta = 3 * int(movable(frames[0]).sum())
    if not all(frame.has("momenta") for frame in frames):
        return momenta
    drifts = all(
        drift_energy(frame) <= AT_REST * frame.get_kinetic_energy() for frame in frames
    )
    return momenta - conserved_momenta(frames[0]) if drifts else momenta
