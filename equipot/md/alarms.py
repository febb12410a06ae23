"""Limits that stop a run before it produces nonsense."""

from collections import deque
from collections.abc import Iterable

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from equipot.config.md import AlarmsConfig
from equipot.md.energy_jump import Moment, unexplained_energy
from equipot.md.thermodynamics import Course, temperature
from equipot.md.velocities import drift_energy, movable
from equipot.neighbors import neighbor_list

DRIFT_AFTER_PS = 1.0
WORST_SHOWN = 5
SHORT_SEARCH = 3.5
"""Å within which almost every atom has a neighbor."""


class MDStoppedError(RuntimeError):
    """A run was stopped by an alarm or by an error of the calculator."""


class Alarms:
    """Checks made after every step.

    Args:
        limits: What is allowed.
        degrees_of_freedom: Momenta that carry heat.
        atoms: As they are at first; those that are alone then cannot be lost.
        keeps_momentum: Whether the energy of conserved rigid motions is no heat.
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
        self._before: Moment | None = None
        distance = limits.lost_distance
        self._alone = (
            np.zeros(0, int) if distance is None else lonely_atoms(atoms, distance)
        )

    def check(self, atoms: Atoms, step: int) -> str | None:
        """Why the run must stop here, or None.

        Args:
            atoms: With momenta and calculated forces.
            step: Distances are checked every `distance_interval` steps.

        Returns:
            What went wrong, where, and which limit it broke.
        """
        return (
            self._forces(atoms)
            or self._temperature(atoms)
            or self._jump(atoms)
            or self._near(atoms, step)
            or self._lost(atoms, step)
        )

    def check_drift(self, course: Course, time_ps: float) -> str | None:
        """Why the run must stop for its conserved quantity, or None.

        Args:
            course: Log so far.
            time_ps: Time since the start.
        """
        limit, drift = self.limits.max_drift, course.drift
        if limit is None or drift is None or time_ps < DRIFT_AFTER_PS:
            return None
        if abs(drift) <= limit:
            return None
        return (
            f"the conserved quantity drifts by {drift:.4g} meV/atom/ps, "
            f"alarms.max_drift is {limit:g}: take a smaller timestep, or check that "
            "the model is smooth"
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
        before, self._before = self._before, Moment.of(atoms)
        if before is None:
            return None
        jump = unexplained_energy(before, self._before)
        if jump is None or abs(jump) <= limit:
            return None
        moved = np.linalg.norm(self._before.positions - before.positions, axis=1)
        change = self._before.energy - before.energy
        return (
            f"the energy changed by {change:.4g} eV in one step, {jump:.4g} eV more "
            "than the work of the forces explains, "
            f"alarms.max_energy_jump is {limit:g}: the energy has a step, the forces "
            "are not its gradient, or the timestep is too long; the fastest atoms:\n"
            f"{_describe(atoms, np.argsort(-moved))}"
        )

    def _lost(self, atoms: Atoms, step: int) -> str | None:
        limit = self.limits.lost_distance
        if limit is None or step % self.limits.distance_interval:
            return None
        lost = np.setdiff1d(lonely_atoms(atoms, limit), self._alone)
        if not len(lost):
            return None
        return (
            f"{len(lost)} atoms have no other atom within {limit:g} Å, "
            f"alarms.lost_distance\n{_describe(atoms, lost)}"
        )

    def _near(self, atoms: Atoms, step: int) -> str | None:
        limit = self.limits.min_distance
        if limit is None or step % self.limits.distance_interval:
            return None
        pairs, distances = close_pairs(atoms, limit)
        if not len(distances):
            return None
        return (
            f"distance of {distances.min():.4g} Å, alarms.min_distance is {limit:g}\n"
            f"{_describe(atoms, np.unique(pairs[np.argsort(distances)][:WORST_SHOWN]))}"
        )


class LastFrames:
    """The latest steps of a run, kept in memory until they are needed."""

    def __init__(self, frames: int) -> None:
        self._frames: deque[Atoms] = deque(maxlen=frames)

    def keep(self, atoms: Atoms, step: int) -> None:
        """Remember a copy of the atoms.

        Args:
            atoms: As they are after the step.
            step: Number of the step, stored with the copy.
        """
        frame = atoms.copy()
        frame.info["step"] = step
        self._frames.append(frame)

    def frames(self) -> Iterable[Atoms]:
        """What was remembered, oldest first."""
        return list(self._frames)


def close_pairs(
    atoms: Atoms, cutoff: float
) -> tuple[Int[np.ndarray, "pairs 2"], Float[np.ndarray, " pairs"]]:
    """Pairs of atoms nearer than a distance, each once.

    Args:
        atoms: Positions must be finite.
        cutoff: Distance in Å.

    Returns:
        pairs: Indices of the two atoms; an atom may be near its own image.
        distances: In Å.
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


def lonely_atoms(atoms: Atoms, distance: float) -> Int[np.ndarray, " some"]:
    """Atoms without any other atom, or image, nearer than a distance.

    Args:
        atoms: Positions must be finite.
        distance: In Å.
    """
    lonely = np.arange(len(atoms))
    # few atoms are left after a short search, so that the long one is rarely made
    for radius in (min(distance, SHORT_SEARCH), distance):
        if not len(lonely):
            break
        found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, radius)
        lonely = np.setdiff1d(lonely, found.index[1])
    return lonely


def _describe(atoms: Atoms, which: Int[np.ndarray, " some"]) -> str:
    """One line per atom: where it is and who is nearest."""
    lines = []
    for i in which[:WORST_SHOWN]:
        line = f"  atom {i} ({atoms.symbols[i]}) at {_numbers(atoms.positions[i])} Å"
        if np.isfinite(atoms.positions).all() and len(atoms) > 1:
            distances = atoms.get_distances(i, range(len(atoms)), mic=atoms.pbc.any())
            distances[i] = np.inf
            j = int(distances.argmin())
            line += f", nearest atom {j} ({atoms.symbols[j]}) at {distances[j]:.4g} Å"
        lines.append(line)
    if len(which) > WORST_SHOWN:
        lines.append(f"  and {len(which) - WORST_SHOWN} more atoms")
    return "\n".join(lines)


def _numbers(vector: Float[np.ndarray, "3"]) -> str:
    return "(" + ", ".join(f"{x:.4f}" for x in vector) + ")"
