"""Analytic reference potentials for training data, as calculators of ASE.

A judge measures teacher and student alike, so that what differs is the student.
"""

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.data import covalent_radii
from ase.stress import full_3x3_to_voigt_6_stress
from vesin import ase_neighbor_list

PAIR_CUTOFF = 5.0
"""Cutoff of pair interactions in Å."""
WIDTH = 1.8
"""Inverse width of the wells in 1/Å."""


def metal() -> Calculator:
    """Effective-medium theory (Jacobsen, Stoltze and Norskov 1996), as in ASE."""
    return EMT()


class MorsePairs(Calculator):
    r"""Morse wells for all elements, each at the sum of two covalent radii.

    .. math:: E = \sum_{i<j} D \, u(r) \, x (x - 2), \qquad
              x = e^{-a (r - r_0)}, \quad u(r) = (1 - (r / r_c)^2)^3

    The depth D in eV falls from 3 at 1 Å as the inverse of the distance of the well.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "forces",
        "stress",
    ]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Energy, forces and, in a periodic cell, stress."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        i, j, d, vectors = ase_neighbor_list("ijdD", atoms, PAIR_CUTOFF)
        radii = covalent_radii[atoms.numbers]
        well = radii[i] + radii[j]
        energies, slopes = morse(d, well)
        pull = (slopes / d)[:, None] * vectors
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, pull)
        energy = energies.sum() / 2
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if atoms.pbc.all():
            stress = vectors.T @ pull / (2 * atoms.get_volume())
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)


def morse(d: np.ndarray, well: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies and derivatives at distances `d`, for wells at distances `well`."""
    depth = 3.0 / well
    x = np.exp(-WIDTH * (d - well))
    shape, shape_slope = x * (x - 2), -2 * WIDTH * x * (x - 1)
    s = 1 - (d / PAIR_CUTOFF) ** 2
    cut, cut_slope = s**3, -6 * d / PAIR_CUTOFF**2 * s**2
    return depth * shape * cut, depth * (shape_slope * cut + shape * cut_slope)
