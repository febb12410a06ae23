"""A fluid of soft spheres: smooth, ergodic, and quick enough for statistics."""

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from equipot.neighbors import neighbor_list


class SoftSpheres(Calculator):
    r"""Repulsion :math:`\sum_{i<j} h (1 - r_{ij}/r_c)^4` below the cutoff.

    Results depend on the structure only.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, height: float = 20.0, cutoff: float = 5.0) -> None:
        super().__init__()
        self.height, self.cutoff = height, cutoff

    def check_state(self, atoms, tol=0.0):
        """As in ASE, but quicker."""
        last = self.atoms
        same = (
            last is not None
            and np.array_equal(last.positions, atoms.positions)
            and np.array_equal(last.cell.array, atoms.cell.array)
        )
        return [] if same else all_changes

    def calculate(self, atoms=None, properties=(), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        cell = atoms.cell.array
        found = neighbor_list(atoms.positions, cell, atoms.pbc, self.cutoff)
        senders, receivers = found.index
        vectors = atoms.positions[senders] - atoms.positions[receivers]
        vectors += found.shift @ cell
        r = np.sqrt((vectors**2).sum(1))
        inside = 1 - r / self.cutoff
        slope = (-4 * self.height / self.cutoff / r * inside**3)[:, None] * vectors
        energy = float(0.5 * self.height * (inside**4).sum())
        forces = [np.bincount(receivers, slope[:, a], len(atoms)) for a in range(3)]
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": np.stack(forces, axis=1),
        }
        if atoms.pbc.all():
            stress = 0.5 * slope.T @ vectors / atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)


def fluid(atoms_per_edge: int = 2, spacing: float = 4.0) -> Atoms:
    """Argon atoms that repel each other, near a cubic lattice."""
    grid = np.stack(
        np.meshgrid(*[np.arange(atoms_per_edge)] * 3, indexing="ij"), axis=-1
    ).reshape(-1, 3)
    atoms = Atoms(
        f"Ar{len(grid)}",
        positions=grid * spacing,
        cell=[atoms_per_edge * spacing] * 3,
        pbc=True,
    )
    atoms.rattle(0.1, seed=2)
    atoms.calc = SoftSpheres()
    return atoms
