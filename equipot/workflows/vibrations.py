"""Normal modes of a molecule, or of the free atoms of any structure."""

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ase import Atoms, units
from ase.data import atomic_masses
from jaxtyping import Bool, Float, Int

from equipot.workflows.bond_stiffness import MAX_STATIONARY_FORCE, too_soft, too_stiff
from equipot.workflows.reference_amount import reference_amount
from equipot.workflows.rigid_motion import (
    WAVENUMBER_PER_ROOT_CURVATURE,
    RigidMotions,
    free_atoms,
    internal_basis,
    rigid_motions,
)
from equipot.workflows.second_derivatives import HessianFunction, hessian_matrix

EV_PER_ROOT_CURVATURE: Final = units._hbar * 1e10 / np.sqrt(units._e * units._amu)
"""Energy in eV of a quantum of frequency sqrt(1 eV/Å^2/amu)."""

THZ_PER_ROOT_CURVATURE: Final = (
    EV_PER_ROOT_CURVATURE * units._e / units._hplanck * 1e-12
)
"""Frequency in THz of sqrt(1 eV/Å^2/amu): 15.633."""

MAX_NOISE_WAVENUMBER: Final = 10.0
"""Largest imaginary frequency in cm^-1 that counts as noise, not as an instability."""

MIN_RESOLVED_WAVENUMBER: Final = 3.0
"""Lower bound of the resolution in cm^-1: at room temperature a mode of this frequency
holds 70 quanta, far beyond the harmonic regime."""

MIN_ISOTOPE_MASS_DIFFERENCE: Final = 0.05
"""Smallest difference in amu from the standard atomic mass that is reported as an
isotope."""


@dataclass(frozen=True)
class Vibrations:
    """Normal modes in ascending order of their frequencies.

    Imaginary frequencies are represented by negative numbers.

    Attributes:
        atoms: The structure, without a calculator.
        energy: Energy of the structure in eV.
        max_force: Largest force on a free atom in eV/Å; zero at a stationary point.
        curvatures: Eigenvalues of the projected, mass-weighted Hessian in eV/Å^2/amu.
        modes: Displacements in Å of each mode, normalized over all atoms.
        reduced_masses: Reduced masses of the modes in amu.
        rigid_frequencies: Frequencies in cm^-1, *before* projection, of translations
            and rotations; zero for an invariant energy at a stationary point.
        rigid: Rigid motions; None for those of an isolated molecule that is not
            wrapped.
        resolution: Frequency in cm^-1 below which modes are zero within errors.
        remarks: Warnings about implausible force constants.
    """

    atoms: Atoms
    energy: float
    max_force: float
    curvatures: Float[np.ndarray, " modes"]
    modes: Float[np.ndarray, "modes atoms 3"]
    reduced_masses: Float[np.ndarray, " modes"]
    rigid_frequencies: Float[np.ndarray, " rigid"]
    rigid: RigidMotions | None = None
    resolution: float = MIN_RESOLVED_WAVENUMBER
    remarks: tuple[str, ...] = ()

    @property
    def frequencies(self) -> Float[np.ndarray, " modes"]:
        """Frequencies in cm^-1; negative if imaginary."""
        return WAVENUMBER_PER_ROOT_CURVATURE * signed_root(self.curvatures)

    @property
    def terahertz(self) -> Float[np.ndarray, " modes"]:
        """Frequencies in THz; negative if imaginary."""
        return THZ_PER_ROOT_CURVATURE * signed_root(self.curvatures)

    @property
    def real(self) -> Bool[np.ndarray, " modes"]:
        """Mask of the modes with real frequencies."""
        return self.curvatures > 0

    @property
    def num_imaginary(self) -> int:
        """Number of imaginary modes; those up to 10i cm^-1 do not count."""
        return int((self.frequencies < -MAX_NOISE_WAVENUMBER).sum())

    @property
    def unresolved(self) -> Bool[np.ndarray, " modes"]:
        """Mask of the modes that are zero within their resolution.

        They are below the resolution, or imaginary with a negligible frequency.
        """
        nu = self.frequencies
        return (np.abs(nu) < self.resolution) | (
            (nu < 0) & (nu >= -MAX_NOISE_WAVENUMBER)
        )

    @property
    def molecule(self) -> Atoms | None:
        """Isolated molecule, unwrapped and without a cell; None if it is not one."""
        if self.rigid is not None:
            return self.rigid.molecule
        return None if self.atoms.pbc.any() or self.atoms.constraints else self.atoms

    @property
    def per(self) -> str:
        """Reference amount, such as ``per molecule of H2O``."""
        fixed = len(self.atoms) - len(free_atoms(self.atoms))
        return reference_amount(
            self.atoms, molecule=self.molecule is not None, fixed=fixed
        )

    @property
    def isotopes(self) -> dict[str, list[int]]:
        """Atoms with non-standard masses, by element and mass."""
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
            if abs(mass - mean) > MIN_ISOTOPE_MASS_DIFFERENCE:
                found.setdefault(f"{symbol} of {mass:.3f} amu", []).append(n)
        return found

    @property
    def quanta(self) -> Float[np.ndarray, " oscillating"]:
        """Vibrational quanta in eV of the modes with real frequencies."""
        return EV_PER_ROOT_CURVATURE * np.sqrt(self.curvatures[self.real])

    @property
    def zero_point_energy(self) -> float:
        """Zero-point energy in eV of the modes with real frequencies."""
        return float(self.quanta.sum() / 2)

    def record(self) -> dict[str, Any]:
        """All fields as plain numbers, with units in the names of keys."""
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

    Eigenvectors of :math:`P^T M^{-1/2} H M^{-1/2} P`, where P spans the orthogonal
    complement of the rigid motions (Eckart conditions): see `rigid_motions`. A molecule
    in a periodic box has the modes of an isolated molecule if no pair of atoms within
    the range of the potential crosses the boundary. Masses are those of the structure,
    isotopes included. Fixed atoms (`FixAtoms`) do not move; with fixed atoms, rigid
    motions are not projected out and appear as modes of frequency zero.

    Args:
        atoms: Relaxed structure with a calculator.
        hessian: Hessian function of the same energy.

    Returns:
        The modes.

    Raises:
        ValueError: If the Hessian is invalid, there are constraints other than
            `FixAtoms`, a mass is not positive, a bond is stiffer than any known one, or
            the energy is not invariant under translations and rotations.

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
    if max_force > MAX_STATIONARY_FORCE:
        warnings.warn(
            f"the largest force is {max_force:.3f} eV/Å, so this is not a stationary "
            "point and its frequencies are not reliable: relax it first",
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
    """Square roots with sign: minus the root of the modulus for negative numbers."""
    return np.sign(values) * np.sqrt(np.abs(values))


def bare(atoms: Atoms) -> Atoms:
    """Copy without a calculator, with explicit masses."""
    copy = atoms.copy()
    copy.set_masses(atoms.get_masses())
    return copy


def _checked_masses(atoms: Atoms) -> Float[np.ndarray, " atoms"]:
    masses = atoms.get_masses()
    wrong = np.flatnonzero(~(np.isfinite(masses) & (masses > 0)))
    if len(wrong):
        raise ValueError(
            f"expected positive masses in amu, got {masses[wrong[0]]} for atom "
            f"{wrong[0]}: correct them, or remove them to use standard masses"
        )
    return masses


def _refuse_stiff_motions(rigid: RigidMotions) -> None:
    if rigid.error > rigid.tolerance:
        raise ValueError(
            f"{rigid.offender} should not change the energy, but by the Hessian it is "
            f"a mode of {rigid.error:.0f} cm-1: the energy is not invariant, or the "
            "Hessian is not its second derivative. Check the model with equipot verify"
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
    """Add rigid motions as modes of frequency zero instead of projecting them out."""
    zeros = np.zeros(motions.shape[1])
    curvatures = np.concatenate([curvatures, zeros])
    vectors = np.concatenate([vectors, motions], axis=1)
    order = np.argsort(curvatures, kind="stable")
    return curvatures[order], vectors[:, order], motions[:, :0]


def _resolution(rigid: RigidMotions, max_force: float, mass: float) -> float:
    """Resolution in cm^-1 from the errors of the Hessian and the residual forces.

    A residual force F changes curvatures by the order of F over 1 Å.
    """
    residual = WAVENUMBER_PER_ROOT_CURVATURE * float(np.sqrt(max_force / mass))
    return float(
        np.clip(
            max(3 * rigid.error, residual),
            MIN_RESOLVED_WAVENUMBER,
            MAX_NOISE_WAVENUMBER,
        )
    )


def _rigid_frequencies(
    weighted: Float[np.ndarray, "n n"],
    motions: Float[np.ndarray, "n rigid"],
    free: Int[np.ndarray, " free"],
) -> Float[np.ndarray, " rigid"]:
    """Frequencies of the eigenvectors with the largest overlap with rigid motions."""
    moving = (3 * free[:, None] + np.arange(3)).ravel()
    curvatures, vectors = np.linalg.eigh(weighted[np.ix_(moving, moving)])
    share = np.sum((motions[moving].T @ vectors) ** 2, axis=0)
    rigid = np.sort(np.argsort(share)[len(share) - motions.shape[1] :])
    return WAVENUMBER_PER_ROOT_CURVATURE * signed_root(curvatures[rigid])
