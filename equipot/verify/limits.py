"""What happens to a pair of atoms that comes from infinity to 0.3 Å."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, islice

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from jaxtyping import Float64

from equipot.agreement import Difference
from equipot.models.energy_model import EnergyModel
from equipot.verify.physics import SMALLEST_FORCE, graph_of, predict_together
from equipot.verify.quantities import given
from equipot.verify.result import Check

MAX_PAIRS = 36
"""Pairs of elements that are looked at: all of up to eight elements."""
STEP = 5e-3
"""Å between the points from which a limit at the cutoff is extrapolated."""
POINTS = 5
"""On each side: extrapolation is exact for polynomials of degree four."""
SMOOTH_TOLERANCE = 1e-4
SEPARATE_TOLERANCE = 1e-10
CLOSEST = 0.3
"""Å."""
NUM_DISTANCES = 60
SHORT_BOND = 0.7
"""Of the sum of covalent radii: nature repels any two atoms that are closer."""
HOLE_TOLERANCE = 0.1
"""eV."""

Curve = Float64[np.ndarray, " distances"]


@dataclass(frozen=True)
class _Scan:
    """Pairs of atoms at a series of distances."""

    energies: Curve
    """In eV."""
    pulls: Curve
    """Force in eV/Å on the second atom, along the line to it."""


def limit_checks(
    model: EnergyModel,
    elements: Sequence[int],
    *,
    reference_energies: Mapping[int, float] | None = None,
    closest: Callable[[int, int], float | None] | None = None,
) -> list[Check]:
    """Look at every pair of elements: far apart, at the cutoff, and very close.

    Args:
        model: In float64.
        elements: Atomic numbers.
        reference_energies: Energies in eV that free atoms should have; not compared
            if left out.
        closest: Distance in Å below which a pair is refused where the potential is
            used, None for a pair without one; none has if left out.
    """
    pairs = list(islice(combinations_with_replacement(elements, 2), MAX_PAIRS))
    checks = [_smoothness(model, pairs), _separation(model, pairs)]
    if reference_energies is not None:
        checks.append(_free_atoms(model, elements, reference_energies))
    return [*checks, _holes(model, pairs, closest)]


def _smoothness(model: EnergyModel, pairs: Sequence[tuple[int, int]]) -> Check:
    """Jumps of energy, force and curvature where a third atom enters the cutoff."""
    inside = model.cutoff - STEP * np.arange(1, POINTS + 1)
    outside = model.cutoff + STEP * np.arange(1, POINTS + 1)
    worst, where = Difference(0.0, 1.0, SMOOTH_TOLERANCE), ("energy", "eV", "")
    for pair in pairs:
        near = _scan(model, pair, np.linspace(0.5, 1.0, 12) * model.cutoff, True)
        size = max(SMALLEST_FORCE, float(np.abs(near.pulls).max()))
        before = _scan(model, pair, inside, True)
        after = _scan(model, pair, outside, True)
        jumps = [
            ("energy", "eV", _at_cutoff(before.energies) - _at_cutoff(after.energies)),
            ("force", "eV/Å", _at_cutoff(before.pulls) - _at_cutoff(after.pulls)),
            ("curvature", "eV/Å^2", _slope(before.pulls) + _slope(after.pulls)),
        ]
        for name, unit, jump in jumps:
            found = Difference(abs(float(jump)), size, SMOOTH_TOLERANCE)
            if not found.relative <= worst.relative:
                worst, where = found, (name, unit, _name(pair))
    return Check(
        quantity=where[0],
        unit=where[1],
        against=f"the other side of the cutoff {where[2]}".rstrip(),
        dtype="float64",
        difference=worst,
        reason=(
            "of the largest force on that atom, per Å; limits from both sides are "
            f"extrapolated from {POINTS} points {STEP:g} Å apart"
        ),
    )


def _separation(model: EnergyModel, pairs: Sequence[tuple[int, int]]) -> Check:
    """Energy of two atoms beyond the cutoff, and of each alone."""
    worst, where = Difference(0.0, 1.0, SEPARATE_TOLERANCE), pairs[0]
    for a, b in pairs:
        beyond = Atoms([a, b], [[0, 0, 0], [0, 0, 1.01 * model.cutoff]])
        alone = [Atoms([a]), Atoms([b])]
        pair, first, second = predict_together(model, [beyond, *alone])
        difference = abs(float(pair.energy - first.energy - second.energy))
        difference = max(difference, float(pair.forces.abs().max()))
        size = max(1.0, abs(float(pair.energy)))
        found = Difference(difference, size, SEPARATE_TOLERANCE)
        if not found.relative <= worst.relative:
            worst, where = found, (a, b)
    return Check(
        quantity="energy",
        unit="eV",
        against=f"its atoms apart {_name(where)}",
        dtype="float64",
        difference=worst,
        reason="of the energy; rounding of sums",
    )


def _free_atoms(
    model: EnergyModel, elements: Sequence[int], reference: Mapping[int, float]
) -> Check:
    found = predict_together(model, [Atoms([z]) for z in elements])
    differences = {
        z: abs(float(p.energy) - reference[z])
        for z, p in zip(elements, found, strict=True)
    }
    z = max(
        differences, key=lambda z: (differences[z] != differences[z], differences[z])
    )
    return Check(
        quantity="energy",
        unit="eV",
        against=f"stated energy of {chemical_symbols[z]}",
        dtype="float64",
        difference=Difference(
            differences[z], max(1.0, abs(reference[z])), SEPARATE_TOLERANCE
        ),
        reason="of the energy; rounding of sums",
    )


def _holes(
    model: EnergyModel,
    pairs: Sequence[tuple[int, int]],
    closest: Callable[[int, int], float | None] | None,
) -> Check:
    """Energy that a pair gains by coming closer than atoms do that are bonded."""
    depth, where = -np.inf, ""
    for pair in pairs:
        limit = None if closest is None else closest(*pair)
        last = CLOSEST if limit is None else limit
        bond = SHORT_BOND * float(covalent_radii[pair[0]] + covalent_radii[pair[1]])
        first = max(bond, last)
        distances = np.linspace(last, first, NUM_DISTANCES)
        energies = _scan(model, pair, distances, False).energies
        gain = float(energies[-1] - energies.min())
        if not gain <= depth:
            place = distances[int(np.argmin(energies))]
            depth, where = gain, f"{_name(pair)} at {place:.2f} Å"
    return Check(
        quantity="gain",
        unit="eV",
        against=f"short bonds, {where}" if depth > 0 else "short bonds",
        dtype="float64",
        difference=Difference(max(depth, 0.0), 1.0, HOLE_TOLERANCE),
        reason=(
            f"absolute; from {SHORT_BOND:g} of a single bond down to "
            f"{CLOSEST:g} Å, or to where the potential refuses to be used"
        ),
    )


def _scan(
    model: EnergyModel, pair: tuple[int, int], distances: Curve, third: bool
) -> _Scan:
    """Two atoms along the z axis, and if asked for a third behind the first."""
    a, b = pair
    numbers, fixed = ([a, b, a], [[0.4, 0.3, -1.3]]) if third else ([a, b], [])
    structures = [Atoms(numbers, [[0, 0, 0], [0, 0, d], *fixed]) for d in distances]
    graph = graph_of(model, structures)
    prediction = model(graph, {"energy", "forces"}, create_graph=False)
    forces = given(prediction.forces, "forces").double().cpu().numpy()
    pulls = forces.reshape(len(distances), -1, 3)[:, 1, 2]
    energies = prediction.energy.double().cpu().numpy()
    return _Scan(energies, pulls)


def _at_cutoff(values: Curve) -> float:
    """Limit of values at 1, 2, ... steps from the cutoff."""
    return float(_polynomial(values)[-1])


def _slope(values: Curve) -> float:
    """Their derivative there, away from the cutoff."""
    return float(_polynomial(values)[-2]) / STEP


def _polynomial(values: Curve) -> Float64[np.ndarray, " coefficients"]:
    powers = np.vander(np.arange(1.0, len(values) + 1), len(values))
    out: np.ndarray = np.linalg.solve(powers, values)
    return out


def _name(pair: tuple[int, int]) -> str:
    return "-".join(chemical_symbols[z] for z in pair)
