"""Smoothness at the cutoff."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from equipot.models.energy_model import EnergyModel
from equipot.tensor_products.agreement import Difference
from equipot.verify.physics import MIN_FORCE_SCALE
from equipot.verify.result import Check
from equipot.verify.scans import Curve, Pair, Scan, pair_label, scan

STEP = 5e-3
"""Spacing in Å of the points for extrapolation to the cutoff."""
POINTS = 5
"""Number of points per side: exact for polynomials of degree four."""
TOLERANCE = 1e-4
PLOT_HALF_WIDTH = 0.1
"""Half width of the plot relative to the cutoff."""
NUM_PLOT_POINTS = 121
"""Number of points of the plot."""


@dataclass(frozen=True)
class CutoffScan:
    """Scan of a pair through the cutoff, next to a third atom."""

    pair: Pair
    """Atomic numbers."""
    cutoff: float
    """Distances in Å."""
    curve: Scan
    """Energies and forces around the cutoff."""
    curvatures: Curve
    """Curvature in eV/Å^2, by finite differences of the force."""


def smoothness_check(
    model: EnergyModel, pairs: Sequence[Pair]
) -> tuple[Check, CutoffScan]:
    """Check for discontinuities of energy, force and curvature at the cutoff.

    Returns:
        The largest discontinuity of all pairs, and the scan of that pair.
    """
    found = [(*_worst_jump(model, pair), pair) for pair in pairs]
    # NaN ranks as the largest difference
    worst, name, unit, pair = max(found, key=lambda f: (not f[0].passed, f[0].relative))
    check = Check(
        quantity=name,
        unit=unit,
        name="smoothness at the cutoff",
        dtype="float64",
        difference=worst,
        reason=(
            "relative to the largest force on that atom, per Å; both limits are "
            f"extrapolated from {POINTS} points {STEP:g} Å apart"
        ),
        where=pair_label(pair),
    )
    return check, scan_cutoff(model, pair)


def scan_cutoff(model: EnergyModel, pair: Pair) -> CutoffScan:
    """Energy, force and curvature of a pair around the cutoff."""
    reach = PLOT_HALF_WIDTH * model.cutoff
    distances = model.cutoff + np.linspace(-reach, reach, NUM_PLOT_POINTS)
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
    size = max(MIN_FORCE_SCALE, float(np.abs(found.pulls[2 * POINTS :]).max()))
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
    """Derivative at the cutoff, in the direction away from it."""
    return float(_polynomial(values)[-2]) / STEP


def _polynomial(values: Curve) -> Float64[np.ndarray, " coefficients"]:
    powers = np.vander(np.arange(1.0, len(values) + 1), len(values))
    out: np.ndarray = np.linalg.solve(powers, values)
    return out
