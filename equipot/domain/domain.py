"""Domain of validity of a potential, and extrapolation events outside it."""

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from jaxtyping import Float

from equipot.data.pairs import pair_name, parse_pair
from equipot.data.statistics import Statistics
from equipot.domain.extrapolation import ExtrapolationEvent
from equipot.domain.features import FeatureCloud
from equipot.domain.margins import (
    DISTANCE_MARGIN,
    FORCE_FACTOR,
    LARGEST_SCORE,
    Range,
    widened_density,
    widened_energies,
    widened_neighbors,
)
from equipot.neighbors import NeighborList, dimensionality

MAX_ATOMIC_NUMBER = 118
NUM_NEIGHBORS_SHOWN = 3
WHOLE_STRUCTURE = "structure"


class Domain:
    """Domain of validity: range of the training set; None is not checked.

    Args:
        cutoff: Radius in Å of neighbors; that of the pairs it is given if left out.
        minimum_distances: Å by pair of elements, such as ``{"H-O": 0.9}``. A pair that
            is missing was never seen within the cutoff, so it may not come that near.
        neighbors: Fewest and most neighbors within the cutoff, by element.
        density: Lowest and highest number of atoms per Å^3 of structures that pairs
            within the cutoff connect with their images in three directions. That of a
            slab, a wire or a molecule depends on the vacuum and is not compared.
        energy: Lowest and highest energy in eV per atom beyond reference energies.
        reference_energies: Isolated-atom energies in eV by atomic number; default 0.
        largest_force: In eV/Å.
        features: Distribution of learned features of atomic environments.

    Raises:
        ValueError: If a pair or an element has no such name.
    """

    def __init__(
        self,
        *,
        cutoff: float = np.inf,
        minimum_distances: Mapping[str, float] | None = None,
        neighbors: Mapping[str, tuple[int, int]] | None = None,
        density: Range | None = None,
        energy: Range | None = None,
        reference_energies: Mapping[int, float] | None = None,
        largest_force: float | None = None,
        features: FeatureCloud | None = None,
    ) -> None:
        self.cutoff = cutoff
        self.minimum_distances = minimum_distances
        self.neighbors = neighbors
        self.density = density
        self.energy = energy
        self.reference_energies = reference_energies or {}
        self.largest_force = largest_force
        self.features = features
        self._nearest = _table_of_pairs(minimum_distances)
        self._neighbors = _table_of_elements(neighbors)

    @classmethod
    def of(
        cls, statistics: Statistics, features: FeatureCloud | None = None
    ) -> "Domain":
        """Domain of a training set; one that checks nothing if the set is not known.

        Args:
            statistics: Of the set.
            features: Of its atoms; models of older versions have none.
        """
        if not statistics.has_training_set:
            return cls(
                cutoff=statistics.cutoff,
                reference_energies=statistics.reference_energies,
            )
        return cls(
            cutoff=statistics.cutoff,
            minimum_distances=statistics.minimum_distances,
            neighbors=statistics.neighbor_ranges or None,
            density=statistics.density_range,
            energy=statistics.energy_range,
            reference_energies=statistics.reference_energies,
            largest_force=statistics.largest_force,
            features=features,
        )

    @property
    def is_known(self) -> bool:
        """Whether there is anything to compare with."""
        ranges = (self.minimum_distances, self.neighbors, self.density, self.energy)
        others = (self.largest_force, self.features)
        return any(known is not None for known in (*ranges, *others))

    def closest(self, first: int, second: int) -> float:
        """Distance in Å below which a pair of elements is refused; infinite if unseen.

        Args:
            first: Atomic number.
            second: Atomic number.
        """
        return float(self._nearest[first, second])

    def events_of_structure(
        self, atoms: Atoms, pairs: NeighborList
    ) -> list[ExtrapolationEvent]:
        """How a structure lies beyond the training set, worst first of each kind.

        Args:
            atoms: The structure.
            pairs: Its neighbor list.
        """
        pairs = pairs.within(min(self.cutoff, pairs.cutoff))
        if not len(pairs.distances):
            return []  # isolated atoms, whose energy is known
        found = (
            self._too_near(atoms, pairs),
            self._neighbors_outside(atoms, pairs),
            self._density_outside(atoms, pairs),
        )
        return [event for event in found if event is not None]

    def events_of_prediction(
        self,
        atoms: Atoms,
        pairs: NeighborList,
        *,
        energy: float,
        forces: Float[np.ndarray, "atoms 3"] | None,
        features: Float[np.ndarray, "atoms channels"] | None,
    ) -> list[ExtrapolationEvent]:
        """Extrapolation events of a prediction, the worst of each kind.

        Args:
            atoms: The structure.
            pairs: Its neighbor list.
            energy: In eV, free atoms included.
            forces: In eV/Å, if they were predicted.
            features: Of the last layer, if there are any.
        """
        pairs = pairs.within(min(self.cutoff, pairs.cutoff))
        if not len(pairs.distances):
            return []
        found = (
            self._energy_outside(atoms, energy),
            None if forces is None else self._force_too_large(atoms, pairs, forces),
            None if features is None else self._unusual(atoms, pairs, features),
        )
        return [event for event in found if event is not None]

    def _too_near(self, atoms: Atoms, pairs: NeighborList) -> ExtrapolationEvent | None:
        numbers = atoms.numbers
        limits = self._nearest[numbers[pairs.index[0]], numbers[pairs.index[1]]]
        below = pairs.distances < limits
        if not below.any():
            return None
        ratios = np.where(below, pairs.distances / limits, np.inf)
        # unseen pairs have a ratio of zero: the nearest of them
        worst = np.lexsort((pairs.distances, ratios))[0]
        i, j = sorted(pairs.index[:, worst].tolist())
        name = pair_name(int(numbers[i]), int(numbers[j]))
        distance, limit = float(pairs.distances[worst]), float(limits[worst])
        where = f"atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are "
        where += f"{distance:.4f} Å apart"
        if np.isinf(limit):
            message = f"{where}, the training set has no pair {name} within the cutoff"
            return ExtrapolationEvent("pair", name, (i, j), distance, limit, message)
        shortest = limit / (1 - DISTANCE_MARGIN)
        message = (
            f"{where}, the nearest pair {name} of the training set {shortest:.4f} Å "
            f"({DISTANCE_MARGIN:.0%} less is allowed)"
        )
        return ExtrapolationEvent("distance", name, (i, j), distance, limit, message)

    def _neighbors_outside(
        self, atoms: Atoms, pairs: NeighborList
    ) -> ExtrapolationEvent | None:
        if self._neighbors is None:
            return None
        counts = np.bincount(pairs.index[1], minlength=len(atoms))
        lowest, highest = self._neighbors[:, atoms.numbers]
        beyond = np.maximum(lowest - counts, counts - highest)
        worst = int(beyond.argmax())
        if beyond[worst] <= 0:
            return None
        symbol, count = atoms.symbols[worst], int(counts[worst])
        low, high = (self.neighbors or {})[symbol]
        limit = lowest[worst] if count < lowest[worst] else highest[worst]
        return ExtrapolationEvent(
            "neighbors",
            symbol,
            (worst,),
            float(count),
            float(limit),
            f"atom {worst} ({symbol}) has {count} neighbors within the cutoff, atoms "
            f"of the training set {low} to {high} ({lowest[worst]:.0f} to "
            f"{highest[worst]:.0f} are allowed){_nearest(atoms, pairs, worst)}",
        )

    def _density_outside(
        self, atoms: Atoms, pairs: NeighborList
    ) -> ExtrapolationEvent | None:
        if self.density is None or not atoms.pbc.all():
            return None
        density = len(atoms) / float(atoms.get_volume())
        low, high = widened_density(self.density)
        if low <= density <= high:
            return None
        if dimensionality(pairs.index, pairs.shift, len(atoms)) < 3:
            return None
        return ExtrapolationEvent(
            "density",
            WHOLE_STRUCTURE,
            (),
            density,
            low if density < low else high,
            f"the density is {density:.4f} atoms/Å^3, of the training set "
            f"{_span(self.density, '.4f')} ({low:.4f} to {high:.4f} is allowed)",
        )

    def _energy_outside(self, atoms: Atoms, total: float) -> ExtrapolationEvent | None:
        if self.energy is None:
            return None
        free = sum(self.reference_energies.get(z, 0.0) for z in atoms.numbers.tolist())
        energy = (total - free) / len(atoms)
        low, high = widened_energies(self.energy)
        if low <= energy <= high:
            return None
        return ExtrapolationEvent(
            "energy",
            WHOLE_STRUCTURE,
            (),
            energy,
            low if energy < low else high,
            f"the energy is {energy:.4f} eV per atom beyond the reference energies, "
            f"of the training set {_span(self.energy, '.4f')} ({low:.4f} to "
            f"{high:.4f} is allowed)",
        )

    def _force_too_large(
        self, atoms: Atoms, pairs: NeighborList, forces: Float[np.ndarray, "atoms 3"]
    ) -> ExtrapolationEvent | None:
        if self.largest_force is None:
            return None
        limit = FORCE_FACTOR * self.largest_force
        norms = np.sqrt(np.square(forces).sum(axis=1))
        worst = int(norms.argmax())
        if norms[worst] <= limit:
            return None
        return ExtrapolationEvent(
            "force",
            atoms.symbols[worst],
            (worst,),
            float(norms[worst]),
            limit,
            f"the force on atom {worst} ({atoms.symbols[worst]}) is "
            f"{norms[worst]:.4g} eV/Å, the largest of the training set "
            f"{self.largest_force:.4g} ({limit:.4g} is allowed)"
            f"{_nearest(atoms, pairs, worst)}",
        )

    def _unusual(
        self,
        atoms: Atoms,
        pairs: NeighborList,
        features: Float[np.ndarray, "atoms channels"],
    ) -> ExtrapolationEvent | None:
        if self.features is None:
            return None
        scores = self.features.scores(atoms.numbers, features)
        worst = int(scores.argmax())
        if scores[worst] <= LARGEST_SCORE:
            return None
        symbol = atoms.symbols[worst]
        return ExtrapolationEvent(
            "features",
            symbol,
            (worst,),
            float(scores[worst]),
            LARGEST_SCORE,
            f"atom {worst} ({symbol}) has an extrapolation score of "
            f"{scores[worst]:.2f}; 1 is the most unusual {symbol} of training "
            f"({LARGEST_SCORE:g} is allowed){_nearest(atoms, pairs, worst)}",
        )


def _table_of_pairs(
    distances: Mapping[str, float] | None,
) -> Float[np.ndarray, "numbers numbers"]:
    """Distance that each pair of atomic numbers must keep; none without a table."""
    if distances is None:
        return np.zeros((MAX_ATOMIC_NUMBER + 1, MAX_ATOMIC_NUMBER + 1))
    table = np.full((MAX_ATOMIC_NUMBER + 1, MAX_ATOMIC_NUMBER + 1), np.inf)
    for pair, distance in distances.items():
        a, b = parse_pair(pair)
        table[a, b] = table[b, a] = distance * (1 - DISTANCE_MARGIN)
    return table


def _table_of_elements(
    neighbors: Mapping[str, tuple[int, int]] | None,
) -> Float[np.ndarray, "two numbers"] | None:
    """Fewest and most neighbors of each atomic number; an unseen one may have any."""
    if neighbors is None:
        return None
    table = np.array(
        [np.zeros(MAX_ATOMIC_NUMBER + 1), np.full(MAX_ATOMIC_NUMBER + 1, np.inf)]
    )
    for symbol, extremes in neighbors.items():
        if symbol not in atomic_numbers:
            raise ValueError(f"expected the symbol of an element, got {symbol!r}")
        table[:, atomic_numbers[symbol]] = widened_neighbors(extremes)
    return table


def _nearest(atoms: Atoms, pairs: NeighborList, atom: int) -> str:
    """Who is around an atom, nearest first."""
    around = np.flatnonzero(pairs.index[1] == atom)
    if not len(around):
        return "; it has no neighbors"
    first = around[np.argsort(pairs.distances[around])][:NUM_NEIGHBORS_SHOWN]
    listed = (
        f"{j} ({atoms.symbols[j]}) at {distance:.3f} Å"
        for j, distance in zip(
            pairs.index[0][first].tolist(), pairs.distances[first].tolist(), strict=True
        )
    )
    return f"; its nearest neighbors: atom {', '.join(listed)}"


def _span(extremes: Range, form: str) -> str:
    low, high = extremes
    return f"{low:{form}} to {high:{form}}"
