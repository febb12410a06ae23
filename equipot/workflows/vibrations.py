"""Normal modes of a molecule, or of the free atoms of any structure."""

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ase import Atoms, units
from jaxtyping import Bool, Float

from equipot.workflows.rigid_motion import internal_basis, rigid_motions
from equipot.workflows.second_derivatives import HessianFunction, hessian_matrix

EV_PER_ROOT: Final = units._hbar * 1e10 / np.sqrt(units._e * units._amu)
"""Energy in eV of a quantum of the frequency sqrt(1 eV/Å^2/amu)."""

CM_PER_ROOT: Final = EV_PER_ROOT / units.invcm
"""The same in cm^-1: 521.47."""

THZ_PER_ROOT: Final = EV_PER_ROOT * units._e / units._hplanck * 1e-12
"""The same in THz: 15.633."""

NEGLIGIBLE: Final = 10.0
"""Imaginary frequencies up to this, in cm^-1, are called noise, not instabilities."""

STATIONARY: Final = 0.01
"""Largest force in eV/Å of what is called a stationary point."""


@dataclass(frozen=True)
class Vibrations:
    """Normal modes in ascending order of their frequencies.

    Imaginary frequencies are negative numbers, as everywhere in this field.

    Attributes:
        atoms: The structure, without a calculator.
        energy: Of it, in eV.
        max_force: Largest force on a free atom in eV/Å; zero at a stationary point.
        curvatures: Eigenvalues of the projected, mass-weighted Hessian, eV/Å^2/amu.
        modes: Displacements in Å of each mode, of unit length over all atoms.
        reduced_masses: Of the modes, in amu.
        rigid_frequencies: Frequencies in cm^-1, *before* projection, of the modes that
            are translations and rotations: zero for an invariant energy at a
            stationary point, so they measure how well both hold.
    """

    atoms: Atoms
    energy: float
    max_force: float
    curvatures: Float[np.ndarray, " modes"]
    modes: Float[np.ndarray, "modes atoms 3"]
    reduced_masses: Float[np.ndarray, " modes"]
    rigid_frequencies: Float[np.ndarray, " rigid"]

    @property
    def frequencies(self) -> Float[np.ndarray, " modes"]:
        """In cm^-1; negative where imaginary."""
        return CM_PER_ROOT * signed_root(self.curvatures)

    @property
    def terahertz(self) -> Float[np.ndarray, " modes"]:
        """In THz; negative where imaginary."""
        return THZ_PER_ROOT * signed_root(self.curvatures)

    @property
    def real(self) -> Bool[np.ndarray, " modes"]:
        """Which modes oscillate."""
        return self.curvatures > 0

    @property
    def num_imaginary(self) -> int:
        """Modes that lower the energy; those up to 10i cm^-1 do not count."""
        return int((self.frequencies < -NEGLIGIBLE).sum())

    @property
    def quanta(self) -> Float[np.ndarray, " oscillating"]:
        """Energies in eV of one quantum of each mode that oscillates."""
        return EV_PER_ROOT * np.sqrt(self.curvatures[self.real])

    @property
    def zero_point_energy(self) -> float:
        """Half a quantum of each mode that oscillates, in eV."""
        return float(self.quanta.sum() / 2)

    def record(self) -> dict[str, Any]:
        """Everything as plain numbers, with the units in the names."""
        return {
            "symbols": self.atoms.get_chemical_symbols(),
            "positions_angstrom": self.atoms.positions.tolist(),
            "energy_ev": self.energy,
            "max_force_ev_per_angstrom": self.max_force,
            "frequencies_per_cm": self.frequencies.tolist(),
            "frequencies_thz": self.terahertz.tolist(),
            "reduced_masses_amu": self.reduced_masses.tolist(),
            "modes": self.modes.tolist(),
            "imaginary_modes": self.num_imaginary,
            "rigid_frequencies_per_cm": self.rigid_frequencies.tolist(),
            "zero_point_energy_ev": self.zero_point_energy,
        }


def vibrations(atoms: Atoms, hessian: HessianFunction) -> Vibrations:
    r"""Normal modes of a structure in the harmonic approximation.

    Eigenvectors of :math:`P^T M^{-1/2} H M^{-1/2} P`, where P spans what is orthogonal
    to translations and rotations (Eckart conditions). Fixed atoms (`FixAtoms`) do not
    move; then, and in crystals as far as rotations go, nothing is projected out.

    Args:
        atoms: Structure with a calculator; relaxed.
        hessian: Second derivatives of the same energy.

    Returns:
        The modes.

    Raises:
        ValueError: If a Hessian cannot be used, or there are constraints other than
            `FixAtoms`.

    Warns:
        UserWarning: If forces do not vanish: frequencies then depend on the choice of
            coordinates, and rotations mix with vibrations.

    Source:
        Wilson, Decius and Cross, Molecular Vibrations (1955), chapters 2 and 11.
    """
    masses = atoms.get_masses()
    matrix = hessian_matrix(hessian, atoms)
    root = np.repeat(np.sqrt(masses), 3)
    weighted = matrix / root[:, None] / root
    basis = internal_basis(atoms, masses)
    curvatures, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
    cartesian = (basis @ vectors) / root[:, None]
    lengths = np.linalg.norm(cartesian, axis=0)
    max_force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    if max_force > STATIONARY:
        warnings.warn(
            f"the largest force is {max_force:.3f} eV/Å, so this is not a stationary "
            "point and its frequencies mean little: relax it first",
            stacklevel=2,
        )
    return Vibrations(
        atoms=bare(atoms),
        energy=float(atoms.get_potential_energy()),
        max_force=max_force,
        curvatures=curvatures,
        modes=(cartesian / lengths).T.reshape(-1, len(atoms), 3),
        reduced_masses=1 / lengths**2,
        rigid_frequencies=_rigid_frequencies(weighted, rigid_motions(atoms, masses)),
    )


def signed_root(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Square roots; of a negative number, minus the root of its modulus."""
    return np.sign(values) * np.sqrt(np.abs(values))


def bare(atoms: Atoms) -> Atoms:
    """Copy with the structure and its constraints only."""
    copy = Atoms(
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=atoms.cell,
        pbc=atoms.pbc,
        masses=atoms.get_masses(),
    )
    copy.set_constraint([c.copy() for c in atoms.constraints])
    return copy


def _rigid_frequencies(
    weighted: Float[np.ndarray, "n n"], motions: Float[np.ndarray, "n rigid"]
) -> Float[np.ndarray, " rigid"]:
    """Of the eigenvectors that are most of all rigid motions."""
    curvatures, vectors = np.linalg.eigh(weighted)
    share = np.sum((motions.T @ vectors) ** 2, axis=0)
    rigid = np.sort(np.argsort(share)[len(share) - motions.shape[1] :])
    return CM_PER_ROOT * signed_root(curvatures[rigid])
