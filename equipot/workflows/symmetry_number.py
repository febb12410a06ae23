"""Rotational symmetry number of a molecule."""

from itertools import product

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

SYMMETRY_TOLERANCE_A = 0.02
"""Largest distance in Å between a rotated atom and an equivalent atom."""


def rotational_symmetry_number(
    atoms: Atoms, tolerance: float = SYMMETRY_TOLERANCE_A, *, linear: bool = False
) -> int:
    """Number of proper rotations that map a molecule onto itself.

    A rotation is determined by the images of two atoms, so all possible images of two
    suitable atoms are tested. Isotopes of an element are inequivalent.

    Args:
        atoms: Molecule.
        tolerance: Largest distance in Å between a rotated atom and an equivalent atom.
        linear: Whether to treat the molecule as linear.

    Returns:
        1 without symmetry; for linear molecules 1, or 2 if both ends are equivalent.
    """
    places = atoms.positions - atoms.get_center_of_mass()
    if linear:
        axis = np.linalg.svd(places, full_matrices=False)[2][0]
        places = np.outer(places @ axis, axis)
    kinds = _kinds(atoms)
    radii = np.linalg.norm(places, axis=1)
    if radii.max() < tolerance:
        return 1
    first = int(np.argmax(radii))
    axis = places[first] / radii[first]
    aside = np.linalg.norm(np.cross(places, axis), axis=1)
    if aside.max() < tolerance:
        return 2 if _same(kinds, places, -places, tolerance) else 1
    second = int(np.argmax(aside))
    frame = _frame(places[first], places[second])
    likes = [
        [
            j
            for j in range(len(atoms))
            if kinds[j] == kinds[i] and abs(radii[j] - radii[i]) < tolerance
        ]
        for i in (first, second)
    ]
    distance = np.linalg.norm(places[first] - places[second])
    found = 0
    for i, j in product(*likes):
        if i == j or abs(np.linalg.norm(places[i] - places[j]) - distance) > tolerance:
            continue
        rotation = _frame(places[i], places[j]).T @ frame
        found += _same(kinds, places @ rotation.T, places, tolerance)
    return found


def _kinds(atoms: Atoms) -> Int[np.ndarray, " atoms"]:
    """Labels that are equal for atoms of the same element and mass."""
    masses = np.round(atoms.get_masses(), 2)
    pairs = np.stack([atoms.numbers, masses], axis=1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)


def _frame(
    a: Float[np.ndarray, " 3"], b: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "3 3"]:
    """Right-handed orthonormal frame of two directions, as rows."""
    x = a / np.linalg.norm(a)
    y = b - (b @ x) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)])


def _same(
    kinds: Int[np.ndarray, " atoms"],
    places: Float[np.ndarray, "atoms 3"],
    others: Float[np.ndarray, "atoms 3"],
    tolerance: float,
) -> bool:
    """Whether each atom coincides with an equivalent atom."""
    distances = np.linalg.norm(places[:, None] - others[None], axis=2)
    distances[kinds[:, None] != kinds[None]] = np.inf
    nearest = distances.argmin(axis=1)
    distinct = len(set(nearest.tolist())) == len(kinds)
    # The frame adds the errors of two positions: twice the tolerance for its atoms.
    return distinct and bool(distances.min(axis=1).max() < 2 * tolerance)
