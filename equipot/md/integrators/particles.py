"""Positions, momenta and forces of a run as arrays, without checks at every access."""

from typing import final

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from jaxtyping import Float

from equipot.md.velocities import movable

Vectors = Float[np.ndarray, "atoms 3"]


@final
class Particles:
    """Atoms that an integrator moves.

    Positions and momenta are those of the `ase.Atoms`, which always has the current
    state. Fixed atoms have no forces, and momenta of zero.

    Args:
        atoms: Structure with a calculator, and with no constraints but
            `ase.constraints.FixAtoms`; without momenta it gets zeros.
    """

    def __init__(self, atoms: Atoms) -> None:
        if not atoms.has("momenta"):
            atoms.set_momenta(np.zeros((len(atoms), 3)))
        self.atoms = atoms
        self.masses: Float[np.ndarray, "atoms 1"] = atoms.get_masses()[:, None]
        """Masses in u."""
        free = movable(atoms)
        self.fixed = None if free.all() else ~free
        """Mask of fixed atoms; None if there are none."""

    @property
    def positions(self) -> Vectors:
        """Positions in Å; changed in place."""
        positions: Vectors = self.atoms.arrays["positions"]
        return positions

    @property
    def momenta(self) -> Vectors:
        """Momenta in sqrt(eV u); changed in place."""
        momenta: Vectors = self.atoms.arrays["momenta"]
        return momenta

    @property
    def cell(self) -> Float[np.ndarray, "3 3"]:
        """Lattice vectors as rows in Å; changed in place."""
        cell: Float[np.ndarray, "3 3"] = self.atoms.cell.array
        return cell

    def forces(self) -> Vectors:
        """Forces in eV/Å, a copy; zero on fixed atoms."""
        forces: Vectors = self.atoms.calc.get_forces(self.atoms)
        return self.at_rest(forces)

    def at_rest(self, vectors: Vectors) -> Vectors:
        """Set the rows of fixed atoms to zero, in place."""
        if self.fixed is not None:
            vectors[self.fixed] = 0.0
        return vectors

    def potential_energy(self) -> float:
        """Potential energy in eV."""
        return float(self.atoms.calc.get_potential_energy(self.atoms))

    def stress(self) -> Float[np.ndarray, "3 3"]:
        """Stress without the kinetic part in eV/Å^3, positive in tension."""
        stress = self.atoms.calc.get_stress(self.atoms)
        full: Float[np.ndarray, "3 3"] = voigt_6_to_full_3x3_stress(stress)
        return full

    def volume(self) -> float:
        """Volume of the cell in Å^3."""
        return float(abs(np.linalg.det(self.cell)))

    def twice_kinetic(self) -> float:
        """Twice the kinetic energy in eV."""
        momenta = self.momenta
        return float(np.vdot(momenta, momenta / self.masses))

    def kick(self, forces: Vectors, time: float) -> None:
        """Change the momenta by constant forces.

        Args:
            forces: Forces in eV/Å.
            time: Duration in Å sqrt(u/eV).
        """
        momenta = self.momenta
        momenta += time * forces

    def drift(self, time: float) -> None:
        """Move with constant momenta.

        Args:
            time: Duration in Å sqrt(u/eV).
        """
        positions = self.positions
        positions += time * self.momenta / self.masses
