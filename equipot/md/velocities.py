"""Initial velocities, and what is subtracted from them."""

import numpy as np
from ase import Atoms
from ase.units import kB


def draw_velocities(atoms: Atoms, temperature: float, rng: np.random.Generator) -> None:
    """Give atoms momenta of the Maxwell-Boltzmann distribution.

    Args:
        atoms: Their momenta are replaced.
        temperature: In K.
        rng: Source of the 3N normal deviates.
    """
    width = np.sqrt(kB * temperature * atoms.get_masses())
    atoms.set_momenta(width[:, None] * rng.standard_normal((len(atoms), 3)))


def remove_drift(atoms: Atoms) -> None:
    """Stop the motion of the center of mass and, without any pbc, the rotation.

    The other degrees of freedom keep their momenta: nothing is rescaled, so that
    momenta drawn at a temperature stay at this temperature.

    Args:
        atoms: Their momenta are changed.
    """
    masses = atoms.get_masses()[:, None]
    velocities = atoms.get_velocities()
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    if not atoms.pbc.any():
        arms = atoms.positions - atoms.get_center_of_mass()
        angular_momentum = np.cross(arms, masses * velocities).sum(axis=0)
        velocities -= np.cross(
            np.linalg.pinv(_inertia(atoms), rcond=1e-10) @ angular_momentum, arms
        )
    atoms.set_velocities(velocities)


def degrees_of_freedom(atoms: Atoms, *, drift_removed: bool) -> int:
    """Number of momenta that carry heat.

    Args:
        atoms: Periodic or not; without any periodic direction rotation counts.
        drift_removed: Whether the total momentum, and the angular momentum of a
            molecule, are zero and stay zero.

    Returns:
        3N, less the conserved components. At least 1.
    """
    frozen = 0
    if drift_removed:
        frozen = 3
        if not atoms.pbc.any():
            frozen += int(np.linalg.matrix_rank(_inertia(atoms), rtol=1e-10))
    return max(3 * len(atoms) - frozen, 1)


def _inertia(atoms: Atoms) -> np.ndarray:
    """Inertia tensor about the center of mass, u Å^2; rank 2 for a linear molecule."""
    arms = atoms.positions - atoms.get_center_of_mass()
    masses = atoms.get_masses()
    trace = (masses * (arms**2).sum(axis=1)).sum()
    return trace * np.eye(3) - np.einsum("a,ai,aj->ij", masses, arms, arms)
