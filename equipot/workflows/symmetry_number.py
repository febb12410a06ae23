"""Rotations that leave a molecule as it is."""

from itertools import product

import numpy as np
from ase import Atoms
from jaxtyping import Float

TOLERANCE = 0.02
"""Distance in Å within which an atom is in the place of another."""


def rotational_symmetry_number(atoms: Atoms, tolerance: float = TOLERANCE) -> int:
    """Number of proper rotations that map a molecule onto itself.

    A rotation is known by where it takes two atoms, so all pairs are tried that two
    well-chosen atoms could be taken to.

    Args:
        atoms: A molecule.
        tolerance: Distance in Å between an atom and the place it should be in.

    Returns:
        1 without symmetry; for linear molecules 1 or 2, by their ends.
    """
    places = atoms.positions - atoms.get_center_of_mass()
    radii = np.linalg.norm(places, axis=1)
    if radii.max() < tolerance:
        return 1
    first = int(np.argmax(radii))
    axis = places[first] / radii[first]
    aside = np.linalg.norm(np.cross(places, axis), axis=1)
    if aside.max() < tolerance:
        return 2 if _same(atoms.numbers, places, -places, tolerance) else 1
    second = int(np.argmax(aside))
    frame = _frame(places[first], places[second])
    likes = [
        [
            j
            for j in range(len(atoms))
            if atoms.numbers[j] == atoms.numbers[i]
            and abs(radii[j] - radii[i]) < tolerance
        ]
        for i in (first, second)
    ]
    distance = np.linalg.norm(places[first] - places[second])
    found = 0
    for i, j in product(*likes):
        if i == j or abs(np.linalg.norm(places[i] - places[j]) - distance) > tolerance:
            continue
        rotation = _frame(places[i], places[j]).T @ frame
        found += _same(atoms.numbers, places @ rotation.T, places, tolerance)
    return found


def _frame(
    a: Float[np.ndarray, " 3"], b: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "3 3"]:
    """Right-handed orthonormal rows from two directions."""
    x = a / np.linalg.norm(a)
    y = b - (b @ x) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)])


def _same(
    numbers: np.ndarray,
    places: Float[np.ndarray, "atoms 3"],
    others: Float[np.ndarray, "atoms 3"],
    tolerance: float,
) -> bool:
    """Whether each atom is in the place of one of its element."""
    distances = np.linalg.norm(places[:, None] - others[None], axis=2)
    distances[numbers[:, None] != numbers[None]] = np.inf
    nearest = distances.argmin(axis=1)
    distinct = len(set(nearest.tolist())) == len(numbers)
    # A frame from two places adds their errors, so its atoms get twice the tolerance.
    return distinct and bool(distances.min(axis=1).max() < 2 * tolerance)
