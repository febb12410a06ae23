"""Motions of a structure that cost no energy, and the coordinates without them."""

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from jaxtyping import Float, Int
from scipy.linalg import null_space

SHORTEST = 1e-6
"""A rotation that moves no atom by more than this share of its arm is none."""


def free_atoms(atoms: Atoms) -> Int[np.ndarray, " free"]:
    """Indices of the atoms that may move.

    Raises:
        ValueError: If there are constraints other than `ase.constraints.FixAtoms`, or
            no atom may move.
    """
    fixed: set[int] = set()
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise ValueError(
                "second derivatives can be restricted to free atoms, so constraints "
                f"must be FixAtoms, got {type(constraint).__name__}: remove it with "
                "atoms.set_constraint()"
            )
        fixed.update(constraint.get_indices().tolist())
    free = np.array([i for i in range(len(atoms)) if i not in fixed], dtype=int)
    if not len(free):
        raise ValueError("expected at least one atom that may move, got none")
    return free


def rigid_motions(
    atoms: Atoms, weights: Float[np.ndarray, " atoms"]
) -> Float[np.ndarray, "coordinates motions"]:
    """Translations and rotations as orthonormal vectors of weighted coordinates.

    With the masses as weights these are the Eckart conditions; with ones, the rigid
    motions of Cartesian coordinates. A molecule has six, a linear one five, an atom
    three; a structure with a periodic direction has its three translations; a
    structure with fixed atoms has none.

    Args:
        atoms: Structure.
        weights: Of the atoms; coordinates are positions times their square root.

    Returns:
        Columns over all 3N coordinates.
    """
    if atoms.constraints:
        return np.zeros((3 * len(atoms), 0))
    root = np.sqrt(weights)[:, None]
    motions = [(root * axis).ravel() for axis in np.eye(3)]
    if not atoms.pbc.any():
        arms = atoms.positions - weights @ atoms.positions / weights.sum()
        size = np.linalg.norm(root * arms)
        # Principal axes, so that the axis of a linear molecule is one of them.
        axes = np.linalg.svd(root * arms, full_matrices=True)[2]
        rotations = [(root * np.cross(axis, arms)).ravel() for axis in axes]
        motions += [r for r in rotations if np.linalg.norm(r) > SHORTEST * size]
    return np.linalg.qr(np.stack(motions, axis=1))[0]


def internal_basis(
    atoms: Atoms, weights: Float[np.ndarray, " atoms"]
) -> Float[np.ndarray, "coordinates internal"]:
    """Orthonormal weighted coordinates of the free atoms without rigid motions.

    Args:
        atoms: Structure; its `FixAtoms` say which atoms are fixed.
        weights: As for `rigid_motions`.

    Returns:
        Columns over all 3N coordinates; those of fixed atoms are zero.
    """
    free = (3 * free_atoms(atoms)[:, None] + np.arange(3)).ravel()
    if len(free) < 3 * len(atoms):
        return np.eye(3 * len(atoms))[:, free]
    return null_space(rigid_motions(atoms, weights).T)
