"""Where a potential was trained: pairs of elements, and how near they came."""

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from jaxtyping import Float, Int

from equipot.data.pairs import pair_name, parse_pair

HEAVIEST = 118


class ExtrapolationError(CalculationFailed):
    """Atoms are closer to each other than any in the training set."""


class Domain:
    """Smallest distances of the training set, checked against those of a structure.

    Args:
        minimum_distances: Å by pair of elements, such as ``{"H-O": 0.9}``. A pair that
            is missing was never seen within the cutoff, so it may not come that near.
    """

    def __init__(self, minimum_distances: Mapping[str, float]) -> None:
        self._limits = np.full((HEAVIEST + 1, HEAVIEST + 1), np.inf)
        for pair, distance in minimum_distances.items():
            a, b = parse_pair(pair)
            self._limits[a, b] = self._limits[b, a] = distance

    def violation(
        self,
        atoms: Atoms,
        index: Int[np.ndarray, "2 edges"],
        distances: Float[np.ndarray, " edges"],
    ) -> tuple[str, str] | None:
        """The pair of atoms that is furthest below its limit.

        Args:
            atoms: The structure.
            index: Pairs of atoms within the cutoff.
            distances: Of these pairs in Å.

        Returns:
            The pair of elements and what to tell the user, or None.
        """
        numbers = atoms.numbers
        limits = self._limits[numbers[index[0]], numbers[index[1]]]
        below = distances < limits
        if not below.any():
            return None
        worst = int(np.argmin(np.where(below, distances / limits, np.inf)))
        i, j = sorted(index[:, worst].tolist())
        pair = pair_name(int(numbers[i]), int(numbers[j]))
        where = (
            f"atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are "
            f"{distances[worst]:.4f} Å apart"
        )
        limit = limits[worst]
        if np.isinf(limit):
            return (
                pair,
                f"{where}, the training set has no pair {pair} within the cutoff",
            )
        return (
            pair,
            f"{where}, the nearest pair {pair} of the training set {limit:.4f} Å",
        )
