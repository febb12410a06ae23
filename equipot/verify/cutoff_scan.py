"""Smoothness at the cutoff."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from equipot.models.energy_model import EnergyModel
from equipot.tensor_products.agreement import Difference
from equipot.verify.physics import SMALLEST_FORCE
from equipot.verify.result import Check
from equipot.verify.scans import Curve, Pair, Scan, pair_label, scan

STEP = 5e-3
"""Å between the points from which a limit at the cutoff is extrapolated."""
POINTS = 5
"""On each side: extrapolation is exact for polynomials of degree four."""
TOLERANCE = 1e-4
WINDOW = 0.1
"""Of the cutoff, on each side of it, that is shown."""
SHOWN = 121
"""Points that are shown."""


@dataclass(frozen=True)
class CutoffScan:
    """A pair on its way through the cutoff, beside a third atom."""

    pair: Pair
    """Atomic numbers."""
    cutoff: float
    """In Å."""
    curve: Scan
    """Around the cutoff."""
    curvatures: Curve
    """Derivative of the energy's slope in eV/Å^2, by differences of the force."""


def smoothness_check(
    model: EnergyModel, pairs: Sequence[Pair]
) -> tuple[Check, CutoffScan]:
    """Jumps of energy, force and curvature where a third atom enters the cutoff.

    Returns:
        The worst jump of all pairs, and the scan of the pair that has it.
    """
    found = [(*_worst_jump(model, pair), pair) for pair in pairs]
    # a NaN is the worst of all
    worst, name, unit, pair = max(found, key=lambda f: (not f[0].passed, f[0].relative))
    check = Check(
        quantity=name,
        unit=unit,
        name="smoothness at the cutoff",
        dtype="float64",
        difference=worst,
        reason=(
            "relative to the largest force on that atom, per Å; one-sided limits are "
            f"extrapolated from {POINTS} points {STEP:g} Å apart"
        ),
        where=pair_label(pair),
    )
    return check, scan_cutoff(model, pair)


def scan_cutoff(model: EnergyModel, pair: Pair) -> CutoffScan:
    """Energy, force and curvature of a pair around the cutoff."""
    reach = WINDOW * model.cutoff
    distances = model.cutoff + np.linspace(-reach, reach, SHOWN)
    curve = scan(model, pair, distances, third=True)
    return CutoffScan(
        pair, model.cutoff, curve, -np.gradient(curve.pulls, distances, edge_order=2)
    )


def _worst_jump(model: EnergyModel, pair: Pair) -> tuple[Difference, str, str]:
    steps = STEP * np.arange(1, POINTS + 1)
    near = np.linspace(0.5, 1.0, 12) * model.cutoff
    distances = np.concatenate([model.cutoff - steps, model.cutoff + steps, near])
    found = scan(model, pair, distances, third=True)
    energies, pulls = (
        (values[:POINTS], values[POINTS : 2 * POINTS])
        for values in (found.energies, found.pulls)
    )
    size = max(SMALLEST_FORCE, float(np.abs(found.pulls[2 * POINTS :]).max()))
    jumps = [
        ("energy", "eV", _at_cutoff(energies[0]) - _at_cutoff(energies[1])),
        ("force", "eV/Å", _at_cutoff(pulls[0]) - _at_cutoff(pulls[1])),
        ("curvature", "eV/Å^2", _slope(pulls[0]) + _slope(pulls[1])),
    ]
    candidates = [
        (Difference(abs(float(jump)), size, TOLERANCE), name, unit)
        for name, unit, jump in jumps
    ]
    return max(candidates, key=lambda c: (not c[0].passed, c[0].relative))


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
