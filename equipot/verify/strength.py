"""Limits of the binding of pairs and clusters.

Limits are those of the strongest known bonds. N2 and CO, with bond energies of 10 and
11 eV, have attractive forces of at most 13 eV/Å; H2 has a stiffness of 36 eV/Å^2, and
longer bonds have less. A deep or narrow hole of a potential has steeper walls.
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
    HOLE_TOLERANCE,
    MIN_SCAN_DISTANCE,
    SHORT_BOND_RATIO,
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
"""Distance in Å between points of a pair scan."""
MAX_ATTRACTION = 15.0
"""eV/Å."""
MAX_STIFFNESS = 80.0
"""Maximum stiffness in eV/Å^2 of bound pairs longer than `LONG_BOND_RATIO`."""
LONG_BOND_RATIO = 1.15
"""Length of a long bond over the sum of covalent radii."""
MAX_BINDING = 8.0
"""Binding in eV per atom above which all limits are scaled by it."""
MAX_PAIR_BINDING = 12.0
"""Maximum sum of pair binding energies in eV per atom."""
MAX_OVERBINDING = 1.5
"""Maximum binding in eV per atom beyond the training set and beyond pairs."""
SCALES = np.array([1.0, 1.04, 1.09, 1.15, 1.22, 1.3, 1.4, 1.5, 1.65, 1.8, 2.0])
"""Scale factors of clusters, from the edge of the domain outward."""
NUM_TRIPLES = 48
CLUSTERS = {4: 10, 6: 8, 9: 6, 13: 6}
"""Number of clusters of each size."""
MAX_COMPRESSED_ELEMENTS = 8
"""Number of elements with compressed clusters."""


@dataclass(frozen=True)
class Bonds:
    """Scans of pairs at all allowed distances, and isolated-atom energies."""

    curves: dict[Pair, tuple[Curve, Curve, Curve]]
    """Distances in Å, energies in eV relative to isolated atoms, attraction in eV/Å."""
    free: dict[int, float]
    """Isolated-atom energy in eV of each element."""
    lowest: float
    """Energy in eV per atom of the most strongly bound known structure, or zero."""
    starts: dict[Pair, float]
    """Minimum distance in Å of each pair in the domain, or a short bond."""

    @property
    def factor(self) -> float:
        """Factor on all limits if known energies are large, as without references."""
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
    """Scan pairs from the edge of the domain to the cutoff.

    Args:
        model: Model in float64.
        pairs: Atomic numbers.
        closest: Distance in Å below which pairs are rejected; distances below a short
            bond are checked by `hole_check`.
        known: Structures whose binding is assumed to be correct.
        lowest: Energy in eV per atom, relative to isolated atoms, of the most strongly
            bound structure of the training set, which replaces that of `known`.
    """
    numbers = {z for atoms in known for z in atoms.numbers.tolist()}
    elements = sorted({z for pair in pairs for z in pair} | numbers)
    alone = predict_together(model, [Atoms([z]) for z in elements])
    free = {z: float(p.energy) for z, p in zip(elements, alone, strict=True)}
    if lowest is None:
        lowest = min((_per_atom(model, atoms, free) for atoms in known), default=0.0)
        # energies beyond those of real matter indicate a collapse, and set no scale
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
    """Check the largest attractive force of pairs, and the stiffness of long bonds."""
    pulls, stiff = [(0.0, "")], [(0.0, "")]
    for pair, (distances, energies, attraction) in bonds.curves.items():
        bond = LONG_BOND_RATIO * float(
            covalent_radii[pair[0]] + covalent_radii[pair[1]]
        )
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


def attraction_outside_domain(bonds: Bonds) -> list[str]:
    """Pairs with too large attractive forces outside the domain, as text."""
    found = []
    for pair, (distances, _, attraction) in bonds.curves.items():
        rejected = distances < bonds.starts[pair]
        if not rejected.any():
            continue
        pull, where = _largest(pair, distances[rejected], attraction[rejected])
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
        model: Model in float64.
        elements: Atomic numbers.
        closest: Distance in Å below which pairs are rejected.
        bonds: Scans of the pairs.
        seed: Seed of the positions.
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
            "absolute, per atom; triples and clusters of up to 13 atoms, from the "
            "shortest distances of the domain to twice those"
        ),
        where="" if excess <= MAX_OVERBINDING * bonds.factor else where,
    )


def compressed_cluster_check(
    model: EnergyModel, scans: Sequence[DimerScan], elements: Sequence[int]
) -> Check:
    """Energy gained by clusters at distances shorter than bonds.

    Args:
        model: Model in float64.
        scans: Scans of pairs, with the distances below which they are rejected.
        elements: Atomic numbers.
    """
    ranges = {s.pair[0]: s.used for s in scans if s.pair[0] == s.pair[1]}
    found = [(0.0, "")]
    for element in elements[:MAX_COMPRESSED_ELEMENTS]:
        low, high = ranges.get(element, (MIN_SCAN_DISTANCE, MIN_SCAN_DISTANCE))
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
            "absolute; 3 to 13 atoms with distances decreasing from "
            f"{SHORT_BOND_RATIO:g} of a single bond to {MIN_SCAN_DISTANCE:g} Å, or to "
            "the shortest that calculators accept"
        ),
        where=where if gain > 0 or np.isnan(gain) else "",
    )


def _start(pair: Pair, cutoff: float, closest: Limits | None) -> float:
    bond = SHORT_BOND_RATIO * float(covalent_radii[pair[0]] + covalent_radii[pair[1]])
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
    """Largest value, with NaN ranked largest, and its location."""
    n = int(np.argmax(values))
    return float(values[n]), f"{pair_label(pair)} at {distances[n]:.2f} Å"


def _rank(found: tuple[float, str]) -> tuple[bool, float]:
    """Sort key that ranks NaN largest."""
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
            "those of the strongest bonds of two atoms: N2 and CO have forces of 13 "
            "eV/Å, and bonds as long as that of H2 are half as stiff"
        ),
        where="" if value <= limit else where,
    )


def _clusters(
    elements: Sequence[int],
    cutoff: float,
    closest: Limits | None,
    rng: np.random.Generator,
) -> Iterator[Atoms]:
    """Random clusters, as small as the minimum distances of pairs allow."""
    for count, number in {3: NUM_TRIPLES, **CLUSTERS}.items():
        for _ in range(number):
            numbers = rng.choice(np.array(elements), count)
            yield _smallest(numbers, _packed(count, rng), cutoff, closest)
    for element in elements:
        for shape in _shapes()[:2]:
            numbers = np.full(len(shape), element)
            yield _smallest(numbers, shape, cutoff, closest)


def _packed(count: int, rng: np.random.Generator) -> Float64[np.ndarray, "atoms 3"]:
    """Random positions after relaxation with a repulsive potential."""
    places = rng.normal(size=(count, 3))
    for _ in range(60):
        vectors = places[:, None] - places
        squares = (vectors**2).sum(axis=2) + np.eye(count)
        push = (vectors / squares[..., None] ** 2).sum(axis=1)
        places = places + 0.05 * push - 0.04 * places
    out: np.ndarray = places
    return out


def _shapes() -> list[Float64[np.ndarray, "atoms 3"]]:
    """Triangle, tetrahedron and icosahedron with center, with unit distances."""
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
    """Sum of the energies in eV of all bound pairs."""
    i, j = np.triu_indices(len(atoms), 1)
    distances = np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1)
    total = np.zeros(len(SCALES))
    for a, b, distance in zip(i, j, distances, strict=True):
        pair = int(atoms.numbers[a]), int(atoms.numbers[b])
        total += bonds.energy(pair, SCALES * distance)
    return total
