"""Alarms: limits on forces, temperature, distances and energy that stop a run."""

from collections import deque
from collections.abc import Iterable

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from equipot.config.md import AlarmsConfig
from equipot.md.energy_jump import Snapshot, unexplained_energy
from equipot.md.thermodynamics import RunStatistics, temperature
from equipot.md.velocities import drift_energy, movable
from equipot.neighbors import neighbor_list

MIN_DRIFT_TIME_PS = 1.0
MAX_ATOMS_SHOWN = 5
SHORT_SEARCH_RADIUS_A = 3.5
"""Radius in Å of a first search, within which almost every atom has a neighbor."""


class MDStoppedError(RuntimeError):
    """A run was stopped by an alarm or by an error of the calculator."""


class Alarms:
    """Checks made after every step.

    Args:
        limits: Limits of all alarms.
        degrees_of_freedom: Number of thermal degrees of freedom.
        atoms: Initial structure; atoms that are isolated in it are never reported as
            lost.
        keeps_momentum: Whether the kinetic energy of conserved rigid motions is
            excluded from the temperature.
    """

    def __init__(
        self,
        limits: AlarmsConfig,
        degrees_of_freedom: int,
        atoms: Atoms,
        *,
        keeps_momentum: bool = False,
    ) -> None:
        self.limits = limits
        self.degrees_of_freedom = degrees_of_freedom
        self.keeps_momentum = keeps_momentum
        self._before: Snapshot | None = None
        distance = limits.lost_distance
        self._alone = (
            np.zeros(0, int) if distance is None else isolated_atoms(atoms, distance)
        )

    def check(self, atoms: Atoms, step: int) -> str | None:
        """Check the state after a step.

        Args:
            atoms: Structure with momenta and calculated forces.
            step: Step number; distances are checked every `distance_interval` steps.

        Returns:
            Message with the quantity, the atoms and the limit that was exceeded, or
            None if no alarm was raised.
        """
        return (
            self._forces(atoms)
            or self._temperature(atoms)
            or self._jump(atoms)
            or self._near(atoms, step)
            or self._lost(atoms, step)
        )

    def check_drift(self, course: RunStatistics, time_ps: float) -> str | None:
        """Check the drift of the conserved quantity.

        Args:
            course: Statistics of the log so far.
            time_ps: Time since the start in ps; no check within the first picosecond.

        Returns:
            Message, or None if the drift is within its limit or not defined.
        """
        limit, drift = self.limits.max_drift, course.drift
        if limit is None or drift is None or time_ps < MIN_DRIFT_TIME_PS:
            return None
        if abs(drift) <= limit:
            return None
        return (
            f"the conserved quantity drifts by {drift:.4g} meV/atom/ps, "
            f"alarms.max_drift is {limit:g}: take a smaller timestep, or check that "
            "the energy of the model is smooth"
        )

    def _forces(self, atoms: Atoms) -> str | None:
        forces = atoms.get_forces(apply_constraint=False)
        norms = np.sqrt((forces**2).sum(axis=1))
        limit = self.limits.max_force
        bad = ~np.isfinite(norms) | ~np.isfinite(atoms.get_momenta()).all(axis=1)
        if bad.any():
            (which,) = np.nonzero(bad)
            return f"force or momentum is not finite\n{_describe(atoms, which)}"
        norms[~movable(atoms)] = 0.0
        if limit is None or norms.max(initial=0.0) <= limit:
            return None
        which = np.argsort(-norms)[: int((norms > limit).sum())]
        return (
            f"force of {norms.max():.4g} eV/Å, alarms.max_force is {limit:g}\n"
            f"{_describe(atoms, which)}"
        )

    def _temperature(self, atoms: Atoms) -> str | None:
        limit = self.limits.max_temperature
        value = temperature(atoms, self.degrees_of_freedom)
        if limit is None or value <= limit:
            return None
        if self.keeps_momentum:
            drift = drift_energy(atoms)
            value = temperature(atoms, self.degrees_of_freedom, drift)
            if value <= limit:
                return None
        speeds = (atoms.get_velocities() ** 2).sum(axis=1) * atoms.get_masses()
        return (
            f"temperature of {value:.4g} K, alarms.max_temperature is {limit:g}; "
            f"fastest atoms:\n{_describe(atoms, np.argsort(-speeds))}"
        )

    def _jump(self, atoms: Atoms) -> str | None:
        limit = self.limits.max_energy_jump
        if limit is None:
            return None
        before, self._before = self._before, Snapshot.of(atoms)
        if before is None:
            return None
        jump = unexplained_energy(before, self._before)
        if jump is None or abs(jump) <= limit:
            return None
        moved = np.linalg.norm(self._before.positions - before.positions, axis=1)
        change = self._before.energy - before.energy
        return (
            f"the energy changed by {change:.4g} eV in one step, which differs by "
            f"{jump:.4g} eV from the work of the forces; "
            f"alarms.max_energy_jump is {limit:g}: the energy is discontinuous, the "
            "forces are not its gradient, or the timestep is too long; fastest atoms:\n"
            f"{_describe(atoms, np.argsort(-moved))}"
        )

    def _lost(self, atoms: Atoms, step: int) -> str | None:
        limit = self.limits.lost_distance
        if limit is None or step % self.limits.distance_interval:
            return None
        lost = np.setdiff1d(isolated_atoms(atoms, limit), self._alone)
        if not len(lost):
            return None
        return (
            f"{len(lost)} atoms have no neighbor within {limit:g} Å "
            f"(alarms.lost_distance)\n{_describe(atoms, lost)}"
        )

    def _near(self, atoms: Atoms, step: int) -> str | None:
        limit = self.limits.min_distance
        if limit is None or step % self.limits.distance_interval:
            return None
        pairs, distances = close_pairs(atoms, limit)
        if not len(distances):
            return None
        nearest = np.unique(pairs[np.argsort(distances)][:MAX_ATOMS_SHOWN])
        return (
            f"distance of {distances.min():.4g} Å, alarms.min_distance is {limit:g}\n"
            f"{_describe(atoms, nearest)}"
        )


class LastFrames:
    """Ring buffer of the last steps of a run."""

    def __init__(self, frames: int) -> None:
        self._frames: deque[Atoms] = deque(maxlen=frames)

    def keep(self, atoms: Atoms, step: int) -> None:
        """Append a copy of the atoms; the oldest copy is dropped if the buffer is full.

        Args:
            atoms: State after the step.
            step: Step number, stored in ``info`` of the copy.
        """
        frame = atoms.copy()
        frame.info["step"] = step
        self._frames.append(frame)

    def frames(self) -> Iterable[Atoms]:
        """Stored frames, oldest first."""
        return list(self._frames)


def close_pairs(
    atoms: Atoms, cutoff: float
) -> tuple[Int[np.ndarray, "pairs 2"], Float[np.ndarray, " pairs"]]:
    """Pairs of atoms within a cutoff, each listed once.

    Args:
        atoms: Structure with finite positions.
        cutoff: Distance in Å.

    Returns:
        pairs: Indices of the two atoms; equal for an atom and its own periodic image.
        distances: Distances in Å.
    """
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    senders, receivers = found.index
    vectors = (
        atoms.positions[senders]
        - atoms.positions[receivers]
        + found.shift @ atoms.cell.array
    )
    once = senders <= receivers
    distances = np.linalg.norm(vectors, axis=1)
    return found.index.T[once], distances[once]


def isolated_atoms(atoms: Atoms, distance: float) -> Int[np.ndarray, " some"]:
    """Indices of atoms without a neighbor, periodic images included.

    Args:
        atoms: Structure with finite positions.
        distance: Search radius in Å.
    """
    lonely = np.arange(len(atoms))
    # A short search finds a neighbor of nearly all atoms, so the long one is rare.
    for radius in (min(distance, SHORT_SEARCH_RADIUS_A), distance):
        if not len(lonely):
            break
        found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, radius)
        lonely = np.setdiff1d(lonely, found.index[1])
    return lonely


def _describe(atoms: Atoms, which: Int[np.ndarray, " some"]) -> str:
    """One line per atom with its position and its nearest atom."""
    lines = []
    for i in which[:MAX_ATOMS_SHOWN]:
        line = f"  atom {i} ({atoms.symbols[i]}) at {_numbers(atoms.positions[i])} Å"
        if np.isfinite(atoms.positions).all() and len(atoms) > 1:
            distances = atoms.get_distances(i, range(len(atoms)), mic=atoms.pbc.any())
            distances[i] = np.inf
            j = int(distances.argmin())
            line += f", nearest atom {j} ({atoms.symbols[j]}) at {distances[j]:.4g} Å"
        lines.append(line)
    if len(which) > MAX_ATOMS_SHOWN:
        lines.append(f"  and {len(which) - MAX_ATOMS_SHOWN} more atoms")
    return "\n".join(lines)


def _numbers(vector: Float[np.ndarray, "3"]) -> str:
    return "(" + ", ".join(f"{x:.4f}" for x in vector) + ")"
