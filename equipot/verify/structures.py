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
"""Maximum number of atoms; further elements of a potential are omitted."""
DISTANCE_FACTOR = 1.05
"""Ratio of distances to the shortest ones of the training set."""
CELL_GROWTH = 1.1
"""Factor on the cell lengths if atoms do not fit."""
ATTEMPTS = 200
"""Number of random positions tried before the cell is enlarged."""


def generate_structures(statistics: Statistics, seed: int = 0) -> list[Atoms]:
    """Generate a skewed periodic cell and a cluster with 8 to 16 atoms.

    Pairs are not closer than in the training set; for pairs that it lacks, the minimum
    is the sum of covalent radii.

    Args:
        statistics: Statistics of the training set.
        seed: Seed of the random positions.

    Returns:
        A periodic and a non-periodic structure, deterministic.
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
    """Smallest skewed cell for which random positions were found, and the positions.

    Args:
        numbers: Atomic numbers.
        closest: Minimum distance in Å of pairs of elements.
        rng: Generator of the positions.
    """
    edge = 1.2 * max(closest.values())
    while True:
        cell = edge * np.array([[1.0, 0.0, 0.0], [0.15, 1.1, 0.0], [0.1, -0.2, 1.2]])
        positions = _place(numbers, cell, closest, rng)
        if positions is not None:
            return cell, positions
        edge *= CELL_GROWTH


def _closest(
    statistics: Statistics, elements: Sequence[int]
) -> dict[tuple[int, int], float]:
    pairs = [(a, b) for a in elements for b in elements]
    return {
        (a, b): DISTANCE_FACTOR
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
    """Random positions that satisfy all minimum distances, or None.

    Periodic images of an atom are included.
    """
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    if min(heights) < max(closest.values()):
        return None
    # Enough images, as no height of the cell is below the shortest distance
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
