r"""Whether the energy changes from step to step by the work of the forces, and no more.

From one step to the next, with positions :math:`r' = r (1 + \epsilon) + \delta`,

.. math:: \Delta E \approx V \bar\sigma : \epsilon - \sum_i \bar F_i \cdot \delta_i

with means of forces and stress before and after, and the strain between the mean cell
and both. The error is of third order in the
displacements, some meV per step; a jump of the energy, or forces that are not its
gradient, have nothing that small.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from jaxtyping import Float


@dataclass(frozen=True)
class Moment:
    """Where the atoms are, and what the calculator says of it."""

    energy: float
    forces: Float[np.ndarray, "atoms 3"]
    stress: Float[np.ndarray, "3 3"] | None
    positions: Float[np.ndarray, "atoms 3"]
    cell: Float[np.ndarray, "3 3"]

    @classmethod
    def of(cls, atoms: Atoms) -> "Moment":
        """Present moment of atoms whose forces are calculated."""
        return cls(
            energy=float(atoms.get_potential_energy()),
            forces=np.asarray(atoms.get_forces(), dtype=np.float64),
            stress=_stress(atoms),
            positions=atoms.get_positions(),
            cell=atoms.cell.array.copy(),
        )


def unexplained_energy(before: Moment, after: Moment) -> float | None:
    """Change of the energy beyond the work of forces and stress, in eV.

    Args:
        before: One step earlier.
        after: Now.

    Returns:
        The difference; None if the cell changed and there is no stress to tell its
        work.
    """
    forces = (before.forces + after.forces) / 2
    expected, work = before.positions, 0.0
    if not np.array_equal(before.cell, after.cell):
        if before.stress is None or after.stress is None:
            return None
        middle = (before.cell + after.cell) / 2
        strain = np.linalg.solve(middle, after.cell - before.cell)
        stress = (before.stress + after.stress) / 2
        work = abs(np.linalg.det(middle)) * float((stress * strain).sum())
        expected = before.positions @ np.linalg.solve(before.cell, after.cell)
    work -= float((forces * (after.positions - expected)).sum())
    return after.energy - before.energy - work


def _stress(atoms: Atoms) -> Float[np.ndarray, "3 3"] | None:
    if not atoms.pbc.all():
        return None
    try:
        stress: np.ndarray = atoms.get_stress(voigt=False)
    except PropertyNotImplementedError:
        return None
    return stress
