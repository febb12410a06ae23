r"""Comparison of the energy change of one step with the work of the forces.

From one step to the next, with positions :math:`r' = r (1 + \epsilon) + \delta`,

.. math:: \Delta E \approx V \bar\sigma : \epsilon - \sum_i \bar F_i \cdot \delta_i

where forces and stress are averaged over both structures, and the strain is relative to
the mean cell. The error is of third order in the displacements, some meV per step;
discontinuities of the energy, and forces that are not its gradient, give much larger
differences.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from jaxtyping import Float


@dataclass(frozen=True)
class Snapshot:
    """Positions, cell, energy, forces and stress at one step."""

    energy: float
    forces: Float[np.ndarray, "atoms 3"]
    stress: Float[np.ndarray, "3 3"] | None
    positions: Float[np.ndarray, "atoms 3"]
    cell: Float[np.ndarray, "3 3"]

    @classmethod
    def of(
        cls, atoms: Atoms, forces: Float[np.ndarray, "atoms 3"], *, with_stress: bool
    ) -> "Snapshot":
        """Snapshot of atoms.

        Args:
            atoms: Structure with a calculator.
            forces: Its forces in eV/Å. Those on fixed atoms do no work.
            with_stress: Whether the stress is needed, since the cell may change.
        """
        return cls(
            energy=float(atoms.get_potential_energy()),
            forces=np.asarray(forces, dtype=np.float64),
            stress=_stress(atoms) if with_stress else None,
            positions=atoms.get_positions(),
            cell=atoms.cell.array.copy(),
        )


def unexplained_energy(before: Snapshot, after: Snapshot) -> float | None:
    """Energy change in eV that is not explained by the work of forces and stress.

    Args:
        before: Snapshot before the step.
        after: Snapshot after the step.

    Returns:
        The difference; None if the cell changed and a snapshot has no stress.
    """
    expected, work = before.positions, 0.0
    if before.cell.tobytes() != after.cell.tobytes():
        if before.stress is None or after.stress is None:
            return None
        middle = (before.cell + after.cell) / 2
        strain = np.linalg.solve(middle, after.cell - before.cell)
        stress = (before.stress + after.stress) / 2
        work = abs(np.linalg.det(middle)) * float((stress * strain).sum())
        expected = before.positions @ np.linalg.solve(before.cell, after.cell)
    forces = before.forces + after.forces
    work -= 0.5 * float(np.vdot(forces, after.positions - expected))
    return after.energy - before.energy - work


def _stress(atoms: Atoms) -> Float[np.ndarray, "3 3"] | None:
    if not atoms.pbc.all():
        return None
    try:
        stress: np.ndarray = atoms.get_stress(voigt=False)
    except PropertyNotImplementedError:
        return None
    return stress
