"""Domain of validity of a potential, and extrapolation events outside it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from jaxtyping import Float, Int

from equipot.data.pairs import pair_name, parse_pair
from equipot.data.statistics import Statistics
from equipot.domain.extrapolation import ExtrapolationEvent
from equipot.domain.features import AtomDistributions, FeatureDistribution
from equipot.domain.margins import (
    DISTANCE_MARGIN,
    FORCE_FACTOR,
    MAX_SCORE,
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
    """Domain of validity: ranges of the training set; None disables a check.

    Args:
        cutoff: Cutoff radius in Å of neighbors (default: that of the neighbor list).
        minimum_distances: Shortest distances in Å by pair of elements, such as
            ``{"H-O": 0.9}``. Pairs not in the dictionary were never within the cutoff,
            so any distance within it is an extrapolation event.
        neighbors: Minimum and maximum number within the cutoff, by element.
        density: Minimum and maximum number of atoms per Å^3 of structures connected
            within the cutoff in three directions. Slabs, wires and molecules are not
            checked, since their density depends on the vacuum.
        energy: Minimum and maximum energy in eV per atom minus reference energies.
        reference_energies: Isolated-atom energies in eV by atomic number; default 0.
        largest_force: Magnitude of the largest force in eV/Å.
        features: Distribution of learned features of atomic environments.

    Raises:
        ValueError: If a pair or an element has an invalid name.
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
        features: FeatureDistribution | None = None,
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
        self._limits: _Limits | None = None
        self._reference = b"", 0.0
        self._volume = b"", 0.0
        self._clouds: tuple[bytes, AtomDistributions] | None = None

    @classmethod
    def of(
        cls, statistics: Statistics, features: FeatureDistribution | None = None
    ) -> "Domain":
        """Domain of a training set; one that checks nothing if the set is not known.

        Args:
            statistics: Statistics of the training set.
            features: Features of its atoms; None for models of older versions.
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
        """Minimum allowed distance in Å of a pair of elements; infinite if unseen.

        Args:
            first: Atomic number of the first element.
            second: Atomic number of the second element.
        """
        return float(self._nearest[first, second])

    def events_of_structure(
        self, atoms: Atoms, pairs: NeighborList
    ) -> list[ExtrapolationEvent]:
        """Extrapolation events of a structure, the worst of each kind.

        Args:
            atoms: The structure.
            pairs: Its neighbor list.
        """
        pairs = pairs.within(min(self.cutoff, pairs.cutoff))
        if not len(pairs.distances):
            return []  # isolated atoms, with known energy
        limits = self._limits_of(atoms, pairs)
        found = (
            self._too_near(atoms, pairs, limits.distances),
            self._neighbors_outside(atoms, pairs) if limits.exceeded else None,
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
            energy: Energy in eV, including isolated-atom energies.
            forces: Forces in eV/Å, if predicted.
            features: Features of the last layer, if available.
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

    def _too_near(
        self, atoms: Atoms, pairs: NeighborList, limits: Float[np.ndarray, " edges"]
    ) -> ExtrapolationEvent | None:
        below = pairs.distances < limits
        if not below.any():
            return None
        numbers = atoms.numbers
        ratios = np.where(below, pairs.distances / limits, np.inf)
        # unseen pairs have a ratio of zero: report the closest of them
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
            f"{where}; the minimum in the training set for {name} is {shortest:.4f} Å "
            f"(allowed: {DISTANCE_MARGIN:.0%} less)"
        )
        return ExtrapolationEvent("distance", name, (i, j), distance, limit, message)

    def _neighbors_outside(
        self, atoms: Atoms, pairs: NeighborList
    ) -> ExtrapolationEvent | None:
        if self._neighbors is None:
            return None
        counts = np.bincount(pairs.index[1], minlength=len(atoms))
        lowest, highest = self._neighbors[:, atoms.numbers]
        worst = int(np.maximum(lowest - counts, counts - highest).argmax())
        symbol, count = atoms.symbols[worst], int(counts[worst])
        low, high = (self.neighbors or {})[symbol]
        limit = lowest[worst] if count < lowest[worst] else highest[worst]
        return ExtrapolationEvent(
            "neighbors",
            symbol,
            (worst,),
            float(count),
            float(limit),
            f"atom {worst} ({symbol}) has {count} neighbors within the cutoff; training"
            f" set: {low} to {high}, allowed: {lowest[worst]:.0f} to "
            f"{highest[worst]:.0f}{_nearest(atoms, pairs, worst)}",
        )

    def _density_outside(
        self, atoms: Atoms, pairs: NeighborList
    ) -> ExtrapolationEvent | None:
        if self.density is None or not atoms.pbc.all():
            return None
        density = len(atoms) / self._volume_of(atoms)
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
            f"the density is {density:.4f} atoms/Å^3; training set: "
            f"{_span(self.density, '.4f')}, allowed: {low:.4f} to {high:.4f}",
        )

    def _energy_outside(self, atoms: Atoms, total: float) -> ExtrapolationEvent | None:
        if self.energy is None:
            return None
        energy = (total - self._reference_energy(atoms.numbers)) / len(atoms)
        low, high = widened_energies(self.energy)
        if low <= energy <= high:
            return None
        return ExtrapolationEvent(
            "energy",
            WHOLE_STRUCTURE,
            (),
            energy,
            low if energy < low else high,
            f"the energy is {energy:.4f} eV per atom relative to reference energies; "
            f"training set: {_span(self.energy, '.4f')}, allowed: {low:.4f} to "
            f"{high:.4f}",
        )

    def _force_too_large(
        self, atoms: Atoms, pairs: NeighborList, forces: Float[np.ndarray, "atoms 3"]
    ) -> ExtrapolationEvent | None:
        if self.largest_force is None:
            return None
        limit = FORCE_FACTOR * self.largest_force
        if np.vdot(forces, forces) <= limit**2:  # so that no force is larger
            return None
        norms = np.sqrt(np.einsum("ix,ix->i", forces, forces))
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
            f"{norms[worst]:.4g} eV/Å; maximum in the training set: "
            f"{self.largest_force:.4g}, allowed: {limit:.4g}"
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
        key = atoms.numbers.tobytes()
        if self._clouds is None or key != self._clouds[0]:
            self._clouds = key, self.features.of_atoms(atoms.numbers)
        scores = self._clouds[1].scores(features)
        if scores.max() <= MAX_SCORE:
            return None
        worst = int(scores.argmax())
        symbol = atoms.symbols[worst]
        return ExtrapolationEvent(
            "features",
            symbol,
            (worst,),
            float(scores[worst]),
            MAX_SCORE,
            f"atom {worst} ({symbol}) has an extrapolation score of "
            f"{scores[worst]:.2f}; maximum of {symbol} in training: 1, "
            f"allowed: {MAX_SCORE:g}{_nearest(atoms, pairs, worst)}",
        )

    def _limits_of(self, atoms: Atoms, pairs: NeighborList) -> "_Limits":
        """Limits for elements and edges; kept until one of them changes."""
        last = self._limits
        if (
            last is None
            or pairs.index is not last.index
            or atoms.numbers.tobytes() != last.numbers
        ):
            last = self._limits = self._new_limits(atoms.numbers, pairs.index)
        return last

    def _new_limits(
        self, numbers: Int[np.ndarray, " atoms"], index: Int[np.ndarray, "2 edges"]
    ) -> "_Limits":
        senders, receivers = numbers[index]
        exceeded = False
        if self._neighbors is not None:
            counts = np.bincount(index[1], minlength=len(numbers))
            lowest, highest = self._neighbors[:, numbers]
            exceeded = bool(((counts < lowest) | (counts > highest)).any())
        limits = self._nearest[senders, receivers]
        return _Limits(numbers.tobytes(), index, limits, exceeded)

    def _reference_energy(self, numbers: Int[np.ndarray, " atoms"]) -> float:
        """Sum of the reference energies of all atoms in eV."""
        key = numbers.tobytes()
        if key != self._reference[0]:
            energies = (self.reference_energies.get(z, 0.0) for z in numbers.tolist())
            self._reference = key, sum(energies)
        return self._reference[1]

    def _volume_of(self, atoms: Atoms) -> float:
        """Volume of the cell in Å^3."""
        key = atoms.cell.array.tobytes()
        if key != self._volume[0]:
            self._volume = key, float(atoms.get_volume())
        return self._volume[1]


@dataclass(frozen=True)
class _Limits:
    """Limits of a domain for given elements and edges."""

    numbers: bytes
    """Atomic numbers."""
    index: Int[np.ndarray, "2 edges"]
    """Edges, compared as an object."""
    distances: Float[np.ndarray, " edges"]
    """Minimum allowed distance of each edge in Å."""
    exceeded: bool
    """Whether the number of neighbors of an atom is outside its limits."""


def _table_of_pairs(
    distances: Mapping[str, float] | None,
) -> Float[np.ndarray, "numbers numbers"]:
    """Minimum distance of each pair of atomic numbers; 0 without a table."""
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
    """Minimum and maximum number of neighbors by atomic number; unseen: any."""
    if neighbors is None:
        return None
    table = np.array(
        [np.zeros(MAX_ATOMIC_NUMBER + 1), np.full(MAX_ATOMIC_NUMBER + 1, np.inf)]
    )
    for symbol, extremes in neighbors.items():
        if symbol not in atomic_numbers:
            raise ValueError(f"expected a chemical symbol, got {symbol!r}")
        table[:, atomic_numbers[symbol]] = widened_neighbors(extremes)
    return table


def _nearest(atoms: Atoms, pairs: NeighborList, atom: int) -> str:
    """Nearest neighbors of an atom, as text."""
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
    return f"; nearest neighbors: atom {', '.join(listed)}"


def _span(extremes: Range, form: str) -> str:
    low, high = extremes
    return f"{low:{form}} to {high:{form}}"
