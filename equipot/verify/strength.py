"""Limits of the binding of pairs and clusters.

Limits are those of the strongest bonds there are. N2 and CO, bound by 10 and 11 eV,
pull with at most 13 eV/Å; H2 has a stiffness of 36 eV/Å^2, and longer bonds have less.
A hole in a potential is deep or narrow: its walls are steeper.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from jaxtyping import Float64, Int

from equipot.models.energy_model import EnergyModel
from equipot.tensor_products.agreement import Difference
from equipot.verify.dimers import (
    CLOSEST,
    HOLE_TOLERANCE,
    SHORT_BOND,
    DimerScan,
    Limits,
)
from equipot.verify.physics import (
    graph_of_clusters,
    predict_in_batches,
    predict_together,
)
from equipot.verify.result import Check
from equipot.verify.scans import Curve, Pair, pair_label, scan

STEP = 0.015
"""Å between points of a pair."""
MAX_ATTRACTION = 15.0
"""eV/Å."""
MAX_STIFFNESS = 80.0
"""eV/Å^2, of pairs longer than `LONG_BOND` that are bound."""
LONG_BOND = 1.15
"""Of the sum of covalent radii."""
MAX_BINDING = 8.0
"""eV per atom: where a training set has more, all limits grow with it."""
MAX_PAIR_BINDING = 12.0
"""eV per atom that the bonds of pairs may add up to."""
MAX_OVERBINDING = 1.5
"""eV per atom that clusters may be bound beyond the training set and beyond pairs."""
SCALES = np.array([1.0, 1.04, 1.09, 1.15, 1.22, 1.3, 1.4, 1.5, 1.65, 1.8, 2.0])
"""Of clusters, from the edge of the domain outward."""
TRIPLES = 48
CLUSTERS = {4: 10, 6: 8, 9: 6, 13: 6}
"""How many of each size."""
MAX_COMPRESSED_ELEMENTS = 8
"""Elements of which clusters are compressed."""


@dataclass(frozen=True)
class Bonds:
    """Pairs at all distances that the domain allows, and their energies apart."""

    curves: dict[Pair, tuple[Curve, Curve, Curve]]
    """Distances in Å, energies in eV relative to isolated atoms, attraction in eV/Å."""
    free: dict[int, float]
    """Energy in eV of each element."""
    lowest: float
    """Energy in eV per atom of the most strongly bound known structure, or zero."""
    starts: dict[Pair, float]
    """Distance in Å where the domain of each pair begins, or a short bond."""

    @property
    def factor(self) -> float:
        """What limits grow by where known energies are large, as without references."""
        return max(1.0, -self.lowest / MAX_BINDING)

    def energy(self, pair: Pair, distances: Curve) -> Curve:
        """Energies in eV of a pair at distances in Å, without repulsion."""
        known = self.curves.get(pair) or self.curves.get((pair[1], pair[0]))
        if known is None:
            return np.zeros(len(distances))
        return np.minimum(np.interp(distances, known[0], known[1], right=0.0), 0.0)


def measure_bonds(
    model: EnergyModel,
    pairs: Sequence[Pair],
    closest: Limits | None,
    known: Sequence[Atoms] = (),
    lowest: float | None = None,
) -> Bonds:
    """Energies of pairs from the edge of the domain to the cutoff.

    Args:
        model: In float64.
        pairs: Atomic numbers.
        closest: Distance in Å below which pairs are refused; below a short bond
            `hole_check` looks at them.
        known: Structures whose binding is taken for right.
        lowest: Energy in eV per atom, relative to isolated atoms, of the most strongly
            bound structure of the training set, in place of theirs.
    """
    numbers = {z for atoms in known for z in atoms.numbers.tolist()}
    elements = sorted({z for pair in pairs for z in pair} | numbers)
    alone = predict_together(model, [Atoms([z]) for z in elements])
    free = {z: float(p.energy) for z, p in zip(elements, alone, strict=True)}
    if lowest is None:
        lowest = min((_per_atom(model, atoms, free) for atoms in known), default=0.0)
        # what no matter has is a collapse of the model, and no measure of it
        lowest = max(lowest, -MAX_PAIR_BINDING)
    curves = {}
    for pair in pairs:
        start = _start(pair, model.cutoff, None)
        count = max(3, int(np.ceil((model.cutoff - start) / STEP)))
        distances = np.linspace(start, model.cutoff, count + 1)
        found = scan(model, pair, distances)
        energies = found.energies - free[pair[0]] - free[pair[1]]
        curves[pair] = (distances, energies, -found.pulls)
    starts = {pair: _start(pair, model.cutoff, closest) for pair in pairs}
    return Bonds(curves, free, min(lowest, 0.0), starts)


def bond_checks(bonds: Bonds) -> list[Check]:
    """The strongest pull of a pair, and the stiffest long bond."""
    pulls, stiff = [(0.0, "")], [(0.0, "")]
    for pair, (distances, energies, attraction) in bonds.curves.items():
        bond = LONG_BOND * float(covalent_radii[pair[0]] + covalent_radii[pair[1]])
        used = distances >= bonds.starts[pair]
        if not used.any():
            continue
        pulls.append(_largest(pair, distances[used], attraction[used]))
        stiffness = np.gradient(attraction, distances)
        bound = used & (distances >= bond) & ~(energies > 0)
        if bound.any():
            stiff.append(_largest(pair, distances[bound], stiffness[bound]))
    factor = bonds.factor
    return [
        _limit("attraction", "eV/Å", max(pulls, key=_rank), MAX_ATTRACTION * factor),
        _limit("stiffness", "eV/Å^2", max(stiff, key=_rank), MAX_STIFFNESS * factor),
    ]


def hidden_pulls(bonds: Bonds) -> list[str]:
    """Pairs that pull too strongly where they are refused: place and size in words."""
    found = []
    for pair, (distances, _, attraction) in bonds.curves.items():
        refused = distances < bonds.starts[pair]
        if not refused.any():
            continue
        pull, where = _largest(pair, distances[refused], attraction[refused])
        if not pull <= MAX_ATTRACTION * bonds.factor:
            found.append((pull, f"{where} ({pull:.2g} eV/Å)"))
    return [text for _, text in sorted(found, reverse=True)]


def cluster_check(
    model: EnergyModel,
    elements: Sequence[int],
    closest: Limits | None,
    bonds: Bonds,
    *,
    seed: int = 0,
) -> Check:
    """Overbinding of triples and clusters at the edge of the domain.

    Args:
        model: In float64.
        elements: Atomic numbers.
        closest: Distance in Å below which pairs are refused.
        bonds: Of the pairs.
        seed: Of the places of atoms.
    """
    rng = np.random.default_rng(seed)
    found = []
    for atoms in _clusters(elements, model.cutoff, closest, rng):
        numbers = atoms.numbers.tolist()
        free = sum(bonds.free[z] for z in numbers)
        positions = SCALES[:, None, None] * atoms.positions
        graph = graph_of_clusters(model, numbers, positions)
        energies = model(graph, {"energy"}, create_graph=False).energy.detach().cpu()
        pairs = _of_pairs(atoms, bonds) / len(atoms)
        bound = np.maximum(pairs, -MAX_PAIR_BINDING * bonds.factor)
        own = (energies.double().numpy() - free) / len(atoms)
        beyond = np.minimum(bonds.lowest, bound) - own
        found.append((float(beyond[np.argmax(beyond)]), atoms.get_chemical_formula()))
    excess, where = max(found, key=_rank)
    return Check(
        quantity="binding",
        unit="eV",
        name="overbinding of clusters",
        dtype="float64",
        difference=Difference(
            0.0 if excess <= 0 else excess, 1.0, MAX_OVERBINDING * bonds.factor
        ),
        reason=(
            "absolute, in eV per atom; triples and clusters of up to 13 atoms, at once "
            "to twice the shortest distances of the domain of validity"
        ),
        where="" if excess <= MAX_OVERBINDING * bonds.factor else where,
    )


def compressed_cluster_check(
    model: EnergyModel, scans: Sequence[DimerScan], elements: Sequence[int]
) -> Check:
    """Energy that clusters gain by coming closer than short bonds.

    Args:
        model: In float64.
        scans: Of pairs, with the distances below which they are refused.
        elements: Atomic numbers.
    """
    ranges = {s.pair[0]: s.used for s in scans if s.pair[0] == s.pair[1]}
    found = [(0.0, "")]
    for element in elements[:MAX_COMPRESSED_ELEMENTS]:
        low, high = ranges.get(element, (CLOSEST, CLOSEST))
        if low >= high:
            continue
        for shape in _shapes():
            distances = np.linspace(low, high, 24)
            atoms = [Atoms([element] * len(shape), d * shape) for d in distances]
            energies = _energies(model, atoms)
            lowest = int(np.argmin(energies))
            gain = float(energies[-1] - energies[lowest])
            label = f"{atoms[0].get_chemical_formula()} at {distances[lowest]:.2f} Å"
            found.append((gain, label))
    gain, where = max(found, key=_rank)
    return Check(
        quantity="gain",
        unit="eV",
        name="short-range attraction, clusters",
        dtype="float64",
        difference=Difference(gain, 1.0, HOLE_TOLERANCE),
        reason=(
            f"absolute; 3 to 13 atoms, compressed from {SHORT_BOND:g} of a single bond "
            f"to {CLOSEST:g} Å, or to the end of the domain of validity"
        ),
        where=where if gain > 0 or np.isnan(gain) else "",
    )


def _start(pair: Pair, cutoff: float, closest: Limits | None) -> float:
    bond = SHORT_BOND * float(covalent_radii[pair[0]] + covalent_radii[pair[1]])
    limit = None if closest is None else closest(*pair)
    return bond if limit is None else min(max(limit, bond), cutoff)


def _per_atom(model: EnergyModel, atoms: Atoms, free: dict[int, float]) -> float:
    (energy,) = _energies(model, [atoms]).tolist()
    out = (energy - sum(free[z] for z in atoms.numbers.tolist())) / len(atoms)
    return out if np.isfinite(out) else 0.0


def _energies(
    model: EnergyModel, structures: Sequence[Atoms]
) -> Float64[np.ndarray, " structures"]:
    return np.concatenate(
        [
            found.energy.detach().double().cpu().numpy()
            for _, found in predict_in_batches(model, structures, {"energy"})
        ]
    )


def _largest(pair: Pair, distances: Curve, values: Curve) -> tuple[float, str]:
    """The largest value, which a NaN is, and where it is."""
    n = int(np.argmax(values))
    return float(values[n]), f"{pair_label(pair)} at {distances[n]:.2f} Å"


def _rank(found: tuple[float, str]) -> tuple[bool, float]:
    """A NaN is the worst of all."""
    return bool(np.isnan(found[0])), found[0]


def _limit(name: str, unit: str, found: tuple[float, str], limit: float) -> Check:
    value, where = found
    return Check(
        quantity=name,
        unit=unit,
        name="bond-strength limits",
        dtype="float64",
        difference=Difference(value, limit, 1.0),
        reason=(
            "relative to a limit above the strongest known bonds of two atoms: the "
            "attractive force in N2 and CO reaches 13 eV/Å"
        ),
        where="" if value <= limit else where,
    )


def _clusters(
    elements: Sequence[int],
    cutoff: float,
    closest: Limits | None,
    rng: np.random.Generator,
) -> Iterator[Atoms]:
    """Random clusters, as small as the distances of their pairs allow."""
    for count, number in {3: TRIPLES, **CLUSTERS}.items():
        for _ in range(number):
            numbers = rng.choice(np.array(elements), count)
            yield _smallest(numbers, _packed(count, rng), cutoff, closest)
    for element in elements:
        for shape in _shapes()[:2]:
            numbers = np.full(len(shape), element)
            yield _smallest(numbers, shape, cutoff, closest)


def _packed(count: int, rng: np.random.Generator) -> Float64[np.ndarray, "atoms 3"]:
    """Random places that repelled each other for a while."""
    places = rng.normal(size=(count, 3))
    for _ in range(60):
        vectors = places[:, None] - places
        squares = (vectors**2).sum(axis=2) + np.eye(count)
        push = (vectors / squares[..., None] ** 2).sum(axis=1)
        places = places + 0.05 * push - 0.04 * places
    out: np.ndarray = places
    return out


def _shapes() -> list[Float64[np.ndarray, "atoms 3"]]:
    """A triangle, a tetrahedron, and twelve atoms around one, of unit distance."""
    root = np.sqrt(0.5)
    tetrahedron = root * np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1.0]])
    around = [
        root * np.roll([0.0, a, b], n)
        for n in range(3)
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    return [tetrahedron[:3], tetrahedron, np.array([np.zeros(3), *around])]


def _smallest(
    numbers: Int[np.ndarray, " atoms"],
    places: Float64[np.ndarray, "atoms 3"],
    cutoff: float,
    closest: Limits | None,
) -> Atoms:
    i, j = np.triu_indices(len(numbers), 1)
    limits = [
        _start((int(numbers[a]), int(numbers[b])), cutoff, closest)
        for a, b in zip(i, j, strict=True)
    ]
    ratios = np.array(limits) / np.linalg.norm(places[i] - places[j], axis=1)
    return Atoms(numbers, places * ratios.max())


def _of_pairs(atoms: Atoms, bonds: Bonds) -> Float64[np.ndarray, " scales"]:
    """Energy in eV of all pairs that are bound, as if there were no others."""
    i, j = np.triu_indices(len(atoms), 1)
    distances = np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1)
    total = np.zeros(len(SCALES))
    for a, b, distance in zip(i, j, distances, strict=True):
        pair = int(atoms.numbers[a]), int(atoms.numbers[b])
        total += bonds.energy(pair, SCALES * distance)
    return total
