"""Normal modes of a molecule, or of the free atoms of any structure."""

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ase import Atoms, units
from ase.data import atomic_masses
from jaxtyping import Bool, Float, Int

from equipot.workflows.bond_stiffness import STATIONARY, too_soft, too_stiff
from equipot.workflows.per_what import per_what
from equipot.workflows.rigid_motion import (
    CM_PER_ROOT,
    RigidMotions,
    free_atoms,
    internal_basis,
    rigid_motions,
)
from equipot.workflows.second_derivatives import HessianFunction, hessian_matrix

EV_PER_ROOT: Final = units._hbar * 1e10 / np.sqrt(units._e * units._amu)
"""Energy in eV of a quantum of the frequency sqrt(1 eV/Å^2/amu)."""

THZ_PER_ROOT: Final = EV_PER_ROOT * units._e / units._hplanck * 1e-12
"""The same in THz: 15.633."""

NEGLIGIBLE: Final = 10.0
"""Imaginary frequencies up to this, in cm^-1, are called noise, not instabilities."""

RESOLVED: Final = 3.0
"""Frequencies in cm^-1 below this are never told from zero: at room temperature such a
mode holds 70 quanta, far beyond what is harmonic."""

ISOTOPE: Final = 0.05
"""Mass in amu by which an atom differs from the mean of its element if it is called an
isotope."""


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
        rigid: Motions that cost no energy; None if they are those of a free molecule
            whose atoms are all in one image.
        resolution: Frequency in cm^-1 up to which modes cannot be told from zero.
        remarks: What is unlikely about them.
    """

    atoms: Atoms
    energy: float
    max_force: float
    curvatures: Float[np.ndarray, " modes"]
    modes: Float[np.ndarray, "modes atoms 3"]
    reduced_masses: Float[np.ndarray, " modes"]
    rigid_frequencies: Float[np.ndarray, " rigid"]
    rigid: RigidMotions | None = None
    resolution: float = RESOLVED
    remarks: tuple[str, ...] = ()

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
    def unresolved(self) -> Bool[np.ndarray, " modes"]:
        """Modes that cannot be told from motions that cost no energy.

        They are below the resolution, or imaginary and too soft for an instability.
        """
        nu = self.frequencies
        return (np.abs(nu) < self.resolution) | ((nu < 0) & (nu >= -NEGLIGIBLE))

    @property
    def molecule(self) -> Atoms | None:
        """The free molecule, whole and without a cell; None if it is not just one."""
        if self.rigid is not None:
            return self.rigid.molecule
        return None if self.atoms.pbc.any() or self.atoms.constraints else self.atoms

    @property
    def per(self) -> str:
        """Reference of energies and entropies, such as ``per molecule of H2O``."""
        fixed = len(self.atoms) - len(free_atoms(self.atoms))
        return per_what(self.atoms, molecule=self.molecule is not None, fixed=fixed)

    @property
    def isotopes(self) -> dict[str, list[int]]:
        """Atoms whose masses are not those of their elements, by element and mass."""
        masses = self.atoms.get_masses()
        found: dict[str, list[int]] = {}
        for n, (symbol, mass, mean) in enumerate(
            zip(
                self.atoms.get_chemical_symbols(),
                masses,
                atomic_masses[self.atoms.numbers],
                strict=True,
            )
        ):
            if abs(mass - mean) > ISOTOPE:
                found.setdefault(f"{symbol} of {mass:.3f} amu", []).append(n)
        return found

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
            "masses_amu": self.atoms.get_masses().tolist(),
            "fixed_atoms": self._fixed(),
            "per": self.per,
            "energy_ev": self.energy,
            "max_force_ev_per_angstrom": self.max_force,
            "frequencies_per_cm": self.frequencies.tolist(),
            "frequencies_thz": self.terahertz.tolist(),
            "reduced_masses_amu": self.reduced_masses.tolist(),
            "modes": self.modes.tolist(),
            "imaginary_modes": self.num_imaginary,
            "unresolved_modes": (np.flatnonzero(self.unresolved) + 1).tolist(),
            "resolution_per_cm": self.resolution,
            "rigid_motions": None if self.rigid is None else self.rigid.described(),
            "rigid_frequencies_per_cm": self.rigid_frequencies.tolist(),
            "zero_point_energy_ev": self.zero_point_energy,
        }

    def _fixed(self) -> list[int]:
        free = set(free_atoms(self.atoms).tolist())
        return [n for n in range(len(self.atoms)) if n not in free]


def vibrations(atoms: Atoms, hessian: HessianFunction) -> Vibrations:
    r"""Normal modes of a structure in the harmonic approximation.

    Eigenvectors of :math:`P^T M^{-1/2} H M^{-1/2} P`, where P spans what is orthogonal
    to motions that cost no energy (Eckart conditions): see `rigid_motions`. One
    molecule in a periodic box has the modes of the molecule in the gas if no pair of
    atoms within the range of the potential crosses the boundary. Masses are those of
    the structure, isotopes included. Fixed atoms (`FixAtoms`) do not move; beside them
    nothing is left out: motions that cost no energy are modes of frequency zero.

    Args:
        atoms: Structure with a calculator; relaxed.
        hessian: Second derivatives of the same energy.

    Returns:
        The modes.

    Raises:
        ValueError: If a Hessian cannot be used, there are constraints other than
            `FixAtoms`, a mass is not positive, a bond is stiffer than any in nature, or
            a translation or rotation changes the energy.

    Warns:
        UserWarning: If forces do not vanish: frequencies then depend on the choice of
            coordinates, and rotations mix with vibrations.

    Source:
        Wilson, Decius and Cross, Molecular Vibrations (1955), chapters 2 and 11.
    """
    free, masses = free_atoms(atoms), _checked_masses(atoms)
    matrix = hessian_matrix(hessian, atoms)
    max_force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    if (problem := too_stiff(atoms, matrix, max_force)) is not None:
        raise ValueError(problem)
    root = np.repeat(np.sqrt(masses), 3)
    weighted = matrix / root[:, None] / root
    rigid = rigid_motions(atoms, matrix)
    _refuse_stiff_motions(rigid)
    basis = internal_basis(atoms, masses, rigid)
    curvatures, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
    vectors, still = basis @ vectors, rigid.weighted(masses)
    if len(free) < len(atoms):
        curvatures, vectors, still = _with_motions(curvatures, vectors, still)
    cartesian = vectors / root[:, None]
    lengths = np.linalg.norm(cartesian, axis=0)
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
        rigid_frequencies=_rigid_frequencies(weighted, still, free),
        rigid=rigid,
        resolution=_resolution(rigid, max_force, float(masses.mean())),
        remarks=too_soft(atoms, matrix, max_force),
    )


def signed_root(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Square roots; of a negative number, minus the root of its modulus."""
    return np.sign(values) * np.sqrt(np.abs(values))


def bare(atoms: Atoms) -> Atoms:
    """Copy without a calculator, with the masses that the structure has now."""
    copy = atoms.copy()
    copy.set_masses(atoms.get_masses())
    return copy


def _checked_masses(atoms: Atoms) -> Float[np.ndarray, " atoms"]:
    masses = atoms.get_masses()
    wrong = np.flatnonzero(~(np.isfinite(masses) & (masses > 0)))
    if len(wrong):
        raise ValueError(
            f"expected positive masses in amu, got {masses[wrong[0]]} for atom "
            f"{wrong[0]}: correct them, or leave them out for those of the elements"
        )
    return masses


def _refuse_stiff_motions(rigid: RigidMotions) -> None:
    if rigid.error > rigid.tolerance:
        raise ValueError(
            f"{rigid.offender} should cost no energy, but second derivatives say that "
            f"it does, as a mode of {rigid.error:.0f} cm-1: the energy is not "
            "invariant, or these are not its second derivatives. Check the model with "
            "equipot verify"
        )


def _with_motions(
    curvatures: Float[np.ndarray, " internal"],
    vectors: Float[np.ndarray, "coordinates internal"],
    motions: Float[np.ndarray, "coordinates rigid"],
) -> tuple[
    Float[np.ndarray, " modes"],
    Float[np.ndarray, "coordinates modes"],
    Float[np.ndarray, "coordinates 0"],
]:
    """Motions that cost no energy as modes of frequency zero, and none left out."""
    zeros = np.zeros(motions.shape[1])
    curvatures = np.concatenate([curvatures, zeros])
    vectors = np.concatenate([vectors, motions], axis=1)
    order = np.argsort(curvatures, kind="stable")
    return curvatures[order], vectors[:, order], motions[:, :0]


def _resolution(rigid: RigidMotions, max_force: float, mass: float) -> float:
    """Frequency in cm^-1 below which errors of the Hessian and forces hide a mode.

    A force F that is left changes curvatures by the order of F over 1 Å.
    """
    residual = CM_PER_ROOT * float(np.sqrt(max_force / mass))
    return float(np.clip(max(3 * rigid.error, residual), RESOLVED, NEGLIGIBLE))


def _rigid_frequencies(
    weighted: Float[np.ndarray, "n n"],
    motions: Float[np.ndarray, "n rigid"],
    free: Int[np.ndarray, " free"],
) -> Float[np.ndarray, " rigid"]:
    """Of the eigenvectors that are most of all rigid motions."""
    moving = (3 * free[:, None] + np.arange(3)).ravel()
    curvatures, vectors = np.linalg.eigh(weighted[np.ix_(moving, moving)])
    share = np.sum((motions[moving].T @ vectors) ** 2, axis=0)
    rigid = np.sort(np.argsort(share)[len(share) - motions.shape[1] :])
    return CM_PER_ROOT * signed_root(curvatures[rigid])
