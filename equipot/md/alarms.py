"""Alarms: limits on forces, temperature, distances and energy that stop a run."""

import math

import numpy as np
from ase import Atoms
from ase.units import kB
from jaxtyping import Float, Int

from equipot.config.md import AlarmsConfig
from equipot.md.energy_jump import Snapshot, unexplained_energy
from equipot.md.spacing import Spacing, close_pairs, isolated_atoms
from equipot.md.thermodynamics import RunStatistics, temperature
from equipot.md.velocities import drift_energy, movable

MIN_DRIFT_TIME_PS = 1.0
MAX_ATOMS_SHOWN = 5

Vectors = Float[np.ndarray, "atoms 3"]


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
        changes_cell: Whether the cell changes, so that the stress does work.
    """

    def __init__(
        self,
        limits: AlarmsConfig,
        degrees_of_freedom: int,
        atoms: Atoms,
        *,
        keeps_momentum: bool = False,
        changes_cell: bool = True,
    ) -> None:
        self.limits = limits
        self.degrees_of_freedom = degrees_of_freedom
        self.keeps_momentum = keeps_momentum
        self.changes_cell = changes_cell
        self._before: Snapshot | None = None
        self._masses = atoms.get_masses()[:, None]
        free = movable(atoms)
        self._fixed = None if free.all() else ~free
        self._spacing = Spacing(limits.min_distance, limits.lost_distance)
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
        forces = atoms.get_forces(apply_constraint=False)
        momenta = atoms.arrays["momenta"]
        kinetic = 0.5 * float(np.vdot(momenta, momenta / self._masses))
        reason = (
            self._forces(atoms, forces, kinetic)
            or self._temperature(atoms, kinetic)
            or self._jump(atoms, forces)
        )
        if reason is not None or step % self.limits.distance_interval:
            return reason
        return self._distances(atoms)

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

    def _forces(self, atoms: Atoms, forces: Vectors, kinetic: float) -> str | None:
        limit = self.limits.max_force
        total = float(np.vdot(forces, forces))
        if math.isfinite(total + kinetic) and (limit is None or total <= limit**2):
            return None  # no force is larger than all together
        squared = np.einsum("ix,ix->i", forces, forces)
        if not math.isfinite(total + kinetic):
            momenta = atoms.get_momenta()
            bad = ~np.isfinite(squared) | ~np.isfinite(momenta).all(axis=1)
            if bad.any():
                (which,) = np.nonzero(bad)
                return f"force or momentum is not finite\n{_describe(atoms, which)}"
        if self._fixed is not None:
            squared[self._fixed] = 0.0
        if limit is None or squared.max(initial=0.0) <= limit**2:
            return None
        norms = np.sqrt(squared)
        which = np.argsort(-norms)[: int((squared > limit**2).sum())]
        return (
            f"force of {norms.max():.4g} eV/Å, alarms.max_force is {limit:g}\n"
            f"{_describe(atoms, which)}"
        )

    def _temperature(self, atoms: Atoms, kinetic: float) -> str | None:
        limit = self.limits.max_temperature
        value = 2 * kinetic / (self.degrees_of_freedom * kB)
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

    def _jump(self, atoms: Atoms, forces: Vectors) -> str | None:
        limit = self.limits.max_energy_jump
        if limit is None:
            return None
        now = Snapshot.of(atoms, forces, with_stress=self.changes_cell)
        before, self._before = self._before, now
        if before is None:
            return None
        jump = unexplained_energy(before, now)
        if jump is None or abs(jump) <= limit:
            return None
        moved = np.linalg.norm(now.positions - before.positions, axis=1)
        change = now.energy - before.energy
        return (
            f"the energy changed by {change:.4g} eV in one step, which differs by "
            f"{jump:.4g} eV from the work of the forces; "
            f"alarms.max_energy_jump is {limit:g}: the energy is discontinuous, the "
            "forces are not its gradient, or the timestep is too long; fastest atoms:\n"
            f"{_describe(atoms, np.argsort(-moved))}"
        )

    def _distances(self, atoms: Atoms) -> str | None:
        near, lonely = self._spacing.suspects(atoms)
        reason = self._near(atoms) if near else None
        if reason is None and lonely:
            return self._lost(atoms)
        return reason

    def _near(self, atoms: Atoms) -> str | None:
        limit = self.limits.min_distance
        if limit is None:
            return None
        pairs, distances = close_pairs(atoms, limit)
        if not len(distances):
            return None
        nearest = np.unique(pairs[np.argsort(distances)][:MAX_ATOMS_SHOWN])
        return (
            f"distance of {distances.min():.4g} Å, alarms.min_distance is {limit:g}\n"
            f"{_describe(atoms, nearest)}"
        )

    def _lost(self, atoms: Atoms) -> str | None:
        limit = self.limits.lost_distance
        if limit is None:
            return None
        lost = np.setdiff1d(isolated_atoms(atoms, limit), self._alone)
        if not len(lost):
            return None
        return (
            f"{len(lost)} atoms have no neighbor within {limit:g} Å "
            f"(alarms.lost_distance)\n{_describe(atoms, lost)}"
        )


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
