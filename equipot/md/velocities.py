r"""Initial velocities, conserved rigid motions, and thermal degrees of freedom.

A rigid motion that changes neither the energy nor the position of a fixed atom has a
conserved momentum: three translations, and three rotations of a non-periodic structure
or one about the axis of a wire. In mass-weighted coordinates these motions span a space
:math:`R`. The kinetic energy of the projection of the velocities on :math:`R` is the
drift energy; the remainder is thermal.
"""

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.units import kB
from jaxtyping import Bool, Float
from scipy.linalg import null_space

MIN_SINGULAR_VALUE_RATIO = 1e-8
"""Smallest singular value of linearly independent rigid motions, relative to the
largest."""
CROSS_PRODUCT = np.cross(np.eye(3)[:, None], np.eye(3)).transpose(2, 0, 1)
"""Levi-Civita symbol: the cross product of a and b is ``CROSS_PRODUCT @ b @ a``."""
JITTER_A = 0.1
"""Displacement in Å that makes a linear arrangement of atoms nonlinear."""


def movable(atoms: Atoms) -> Bool[np.ndarray, " atoms"]:
    """Mask of the atoms that are not fixed.

    Args:
        atoms: Structure; constraints other than `ase.constraints.FixAtoms` are ignored.
    """
    free = np.ones(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            free[constraint.index] = False
    return free


def draw_velocities(atoms: Atoms, temperature: float, rng: np.random.Generator) -> None:
    """Draw momenta from the Maxwell-Boltzmann distribution; zero for fixed atoms.

    Args:
        atoms: Structure whose momenta are replaced.
        temperature: Temperature in K.
        rng: Generator of the 3N normal deviates.
    """
    width = np.sqrt(kB * temperature * atoms.get_masses())
    atoms.set_momenta(width[:, None] * rng.standard_normal((len(atoms), 3)))


def remove_drift(atoms: Atoms) -> None:
    """Remove the momenta of all conserved rigid motions; see the module docstring.

    The other momenta are unchanged and not rescaled, so momenta drawn at a temperature
    remain at this temperature.

    Args:
        atoms: Structure whose momenta are changed.
    """
    drift = atoms.get_masses()[:, None] * drift_velocities(atoms)
    atoms.set_momenta(atoms.get_momenta() - drift)


def drift_velocities(atoms: Atoms) -> Float[np.ndarray, "atoms 3"]:
    """Projection of the velocities on the conserved rigid motions.

    Args:
        atoms: With momenta.
    """
    masses = atoms.get_masses()
    if atoms.pbc.sum() > 1:  # only translations, unless atoms are fixed
        if not movable(atoms).all():
            return np.zeros((len(atoms), 3))
        mean = atoms.get_momenta().sum(axis=0) / masses.sum()
        return np.broadcast_to(mean, (len(atoms), 3))
    root = np.sqrt(masses)[:, None]
    basis = _conserved(atoms, atoms.positions)
    weighted = (atoms.get_momenta() / root).reshape(-1)
    return (basis @ (basis.T @ weighted)).reshape(-1, 3) / root


def drift_energy(atoms: Atoms) -> float:
    """Kinetic energy in eV of the conserved rigid motions.

    Args:
        atoms: With momenta.
    """
    velocities = drift_velocities(atoms)
    return float(0.5 * (atoms.get_masses()[:, None] * velocities**2).sum())


def conserved_momenta(atoms: Atoms) -> int:
    """Number of conserved components of linear and angular momentum.

    Args:
        atoms: Structure; fixed atoms reduce the number. A linear arrangement of three
            or more atoms counts as nonlinear, which it becomes as soon as they move.
    """
    shift = np.random.default_rng(0).uniform(-JITTER_A, JITTER_A, (len(atoms), 3))
    moved = atoms.positions + np.where(movable(atoms)[:, None], shift, 0.0)
    return _conserved(atoms, moved).shape[1]


def degrees_of_freedom(atoms: Atoms, *, drift_removed: bool) -> int:
    """Number of thermal degrees of freedom.

    Args:
        atoms: Structure, periodic or not, with or without fixed atoms.
        drift_removed: Whether conserved momenta are excluded: they are zero, or their
            energy is not counted.

    Returns:
        Three for each free atom, minus the conserved momenta; 0 for a single atom whose
        momentum is conserved.
    """
    momenta = 3 * int(movable(atoms).sum())
    return momenta - conserved_momenta(atoms) if drift_removed else momenta


def _conserved(
    atoms: Atoms, positions: Float[np.ndarray, "atoms 3"]
) -> Float[np.ndarray, "components motions"]:
    """Orthonormal basis of the conserved rigid motions in mass-weighted coordinates."""
    axes = _rotation_axes(atoms)
    masses = atoms.get_masses()
    arms = positions - masses @ positions / masses.sum()
    scale = max(float(np.abs(arms).max(initial=0.0)), 1.0)
    fields = np.empty((len(atoms), 3, 3 + len(axes)))
    fields[:, :, :3] = np.eye(3)
    turns = np.einsum("ay,xyz->axz", axes, CROSS_PRODUCT)
    fields[:, :, 3:] = np.einsum("nz,axz->nxa", arms / scale, turns)
    motions = fields.reshape(3 * len(atoms), -1)
    fixed = np.repeat(~movable(atoms), 3)
    if fixed.any():
        motions = motions @ null_space(motions[fixed], rcond=MIN_SINGULAR_VALUE_RATIO)
        motions[fixed] = 0.0
    if not motions.shape[1]:
        return motions
    weighted = np.repeat(np.sqrt(masses), 3)[:, None] * motions
    basis, values, _ = np.linalg.svd(weighted, full_matrices=False)
    return basis[:, values > MIN_SINGULAR_VALUE_RATIO * values.max()]


def _rotation_axes(atoms: Atoms) -> Float[np.ndarray, "axes 3"]:
    """Axes of continuous rotations that leave the lattice invariant."""
    periodic = atoms.cell.array[atoms.pbc]
    if len(periodic) == 0:
        return np.eye(3)
    if len(periodic) == 1:
        return periodic / np.linalg.norm(periodic)
    return np.zeros((0, 3))
