"""Random test structures within the domain of validity."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from jaxtyping import Float64, Int

from equipot.data.pairs import pair_name
from equipot.data.statistics import Statistics

NUM_ATOMS = 8
MAX_ATOMS = 16
"""Of a potential with many elements; the others are left out."""
MARGIN = 1.05
"""Distances over the smallest ones of the training set."""
GROWTH = 1.1
"""Factor on the cell's edges if the atoms do not fit."""
ATTEMPTS = 200
"""Random places tried for an atom before the cell grows."""


def generate_structures(statistics: Statistics, seed: int = 0) -> list[Atoms]:
    """Eight to sixteen atoms, in a tilted cell and as a cluster.

    No two are closer than such a pair in the training set; a pair that it lacks keeps
    the sum of covalent radii.

    Args:
        statistics: Of the training set.
        seed: Of the random places.

    Returns:
        A periodic structure and a free one, the same for the same arguments.
    """
    rng = np.random.default_rng(seed)
    elements = statistics.elements[:MAX_ATOMS]
    numbers = np.resize(np.array(elements), max(NUM_ATOMS, len(elements)))
    closest = _closest(statistics, elements)
    cell, positions = place_atoms(numbers, closest, rng)
    crystal = Atoms(numbers, positions, cell=cell, pbc=True)
    return [crystal, Atoms(numbers, positions)]


def place_atoms(
    numbers: Int[np.ndarray, " atoms"],
    closest: dict[tuple[int, int], float],
    rng: np.random.Generator,
) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "atoms 3"]]:
    """A tilted cell as small as random places are found for, and the places.

    Args:
        numbers: Atomic numbers.
        closest: Distance in Å that pairs of elements keep.
        rng: For the places.
    """
    edge = 1.2 * max(closest.values())
    while True:
        cell = edge * np.array([[1.0, 0.0, 0.0], [0.15, 1.1, 0.0], [0.1, -0.2, 1.2]])
        positions = _place(numbers, cell, closest, rng)
        if positions is not None:
            return cell, positions
        edge *= GROWTH


def _closest(
    statistics: Statistics, elements: Sequence[int]
) -> dict[tuple[int, int], float]:
    pairs = [(a, b) for a in elements for b in elements]
    return {
        (a, b): MARGIN
        * statistics.minimum_distances.get(
            pair_name(a, b), float(covalent_radii[a] + covalent_radii[b])
        )
        for a, b in pairs
    }


def _place(
    numbers: np.ndarray,
    cell: np.ndarray,
    closest: dict[tuple[int, int], float],
    rng: np.random.Generator,
) -> np.ndarray | None:
    """Random places that keep all distances, or None if they were not found.

    Images of an atom keep its distance from itself as well.
    """
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    if min(heights) < max(closest.values()):
        return None
    # Enough images, as no height of the cell is shorter than a distance to be kept.
    images = np.array(list(product((-1, 0, 1), repeat=3))) @ cell
    placed = np.zeros((0, 3))
    for n, z in enumerate(numbers):
        limits = np.array([closest[int(z), int(other)] for other in numbers[:n]])
        for _ in range(ATTEMPTS):
            place = rng.random(3) @ cell
            vectors = (placed - place)[:, None] + images
            if (np.linalg.norm(vectors, axis=2).min(axis=1) > limits).all():
                break
        else:
            return None
        placed = np.vstack([placed, place])
    return placed
