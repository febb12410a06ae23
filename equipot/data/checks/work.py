r"""Energy differences between near frames, and the work of forces and stress.

Between two frames the energy changes by the work of the forces and of the stress,

.. math:: \Delta E = -\tfrac12 \sum_i (F_i^a + F_i^b) \cdot \Delta r_i
          + \tfrac12 (V_a \sigma_a + V_b \sigma_b) : \Delta\varepsilon + O(\Delta^3).

The error of this trapezoidal rule is computed for the fitted pair potential and
subtracted where that improves the agreement. Steps are weighted by the inverse of their
error, Δ^-6 in squares.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from equipot.data.checks.near_frames import Step
from equipot.data.checks.pair_model import PairModel

MIN_STEPS = 8.0
"""Minimum effective number of steps."""
MAX_NEGLIGIBLE_STRAIN = 1e-5
"""Strain below which the work of the stress is neglected."""
PRECISE_CORRELATION = 0.9
"""Minimum correlation to detect a factor of 1.5."""
MIN_REMAINING_FRACTION = 0.02
"""Minimum fraction of the squared energies that cell changes do not explain."""
SIGN_CORRELATION = 0.5
"""Minimum correlation to detect the sign, and factors far outside the bounds."""


@dataclass(frozen=True)
class Ratio:
    """Ratio of energy differences to work."""

    low: float
    """Slope of the regression of energies on work."""
    high: float
    """Inverse slope of the regression of work on energies."""
    correlation: float
    """Correlation of both without subtraction of means."""
    number: float
    """Effective number of steps."""

    @property
    def value(self) -> float:
        """Signed geometric mean of the two slopes."""
        return float(np.sign(self.low) * np.sqrt(abs(self.low * self.high)))

    @property
    def clear(self) -> bool:
        """Whether it determines the sign and the unit."""
        return self.number >= MIN_STEPS and abs(self.correlation) >= SIGN_CORRELATION

    @property
    def trusted(self) -> bool:
        """Whether it detects a factor of 1.5."""
        return self.number >= MIN_STEPS and abs(self.correlation) >= PRECISE_CORRELATION


@dataclass(frozen=True)
class Work:
    """Energies and work of the steps between near frames."""

    start: Int[ndarray, " steps"]
    """Index of the first frame in `PairModel.facts`."""
    end: Int[ndarray, " steps"]
    """Index of the second frame."""
    size: Float[ndarray, " steps"]
    """Length of the step in Å."""
    strained: Bool[ndarray, " steps"]
    """Whether the cell changes."""
    energy: Float[ndarray, " steps"]
    """Difference of the energy labels in eV."""
    by_forces: Float[ndarray, " steps"]
    """Work of the forces in eV; without the work of the stress in strained steps."""
    correction: Float[ndarray, " steps"]
    """Error of the trapezoidal rule for the pair potential, in eV."""
    by_stress: Float[ndarray, " steps"]
    """Work of the stress labels in eV; NaN without labels."""
    by_pairs: Float[ndarray, " steps"]
    """Work of the stress of the pair potential in eV."""
    expansion: Float[ndarray, " steps"]
    """Change of the volume in Å^3."""


def measure_work(model: PairModel, steps: Sequence[Step]) -> Work:
    """Compute energy differences and work between near frames.

    Args:
        model: Pair potential, with the frames of its fit.
        steps: Steps between these frames.

    Returns:
        Work of the steps whose frames have energies; may be empty.
    """
    facts = model.facts
    steps = [
        s
        for s in steps
        if np.isfinite([facts[s.start].energy, facts[s.end].energy]).all()
    ]
    start = np.array([s.start for s in steps], dtype=int)
    end = np.array([s.end for s in steps], dtype=int)
    energies = np.array([f.energy for f in facts])
    volumes = [f.volume for f in facts]
    pairs = _work(steps, model.forces)
    stretch = _strain_work(steps, model.stress, volumes)
    return Work(
        start=start,
        end=end,
        size=np.array([s.size for s in steps]),
        strained=np.array(
            [np.abs(s.strain).max() > MAX_NEGLIGIBLE_STRAIN for s in steps], bool
        ),
        energy=energies[end] - energies[start],
        by_forces=_work(steps, [f.forces for f in facts]),
        correction=model.energy[end] - model.energy[start] - pairs - stretch,
        by_stress=_strain_work(steps, [f.stress for f in facts], volumes),
        by_pairs=stretch,
        expansion=np.array([volumes[s.end] - volumes[s.start] for s in steps]),
    )


def ratio_to_forces(work: Work) -> Ratio:
    """Ratio of energies to the work of the forces, from unstrained steps if possible.

    Without enough of those, contributions proportional to the work of the stress,
    of any sign and unit, are projected out of both.
    """
    found = _best(work, ~work.strained, [])
    if found.number >= MIN_STEPS:
        return found
    every = np.ones(len(work.size), dtype=bool)
    if np.isfinite(work.by_stress).all():
        found = _best(work, every, [work.by_stress])
    else:
        found = _best(work, every, [work.by_pairs, work.expansion])
    return found if found.trusted else replace(found, number=0.0)


def ratio_to_stress(work: Work) -> Ratio:
    """Ratio of energies minus the work of the forces to the work of the stress."""
    chosen = work.strained & np.isfinite(work.by_stress)
    found = []
    for correction in (np.zeros_like(work.size), work.correction):
        left = work.energy - work.by_forces - correction
        found.append(_ratio(left, work.by_stress, work.size, chosen))
    return max(found, key=lambda r: (r.number >= MIN_STEPS, abs(r.correlation)))


def residual(work: Work) -> Float[ndarray, " steps"]:
    """Energy differences minus work, by the more accurate of the two rules."""
    known = np.where(work.strained, work.by_stress, 0.0)
    known = np.where(np.isfinite(known), known, work.by_pairs)
    plain = work.energy - work.by_forces - known
    corrected = plain - work.correction
    typical = [np.median(np.abs(r)) if len(r) else 0.0 for r in (plain, corrected)]
    return plain if typical[0] < typical[1] else corrected


def _best(
    work: Work, chosen: Bool[ndarray, " steps"], nuisance: Sequence[ndarray]
) -> Ratio:
    """Ratio with the higher correlation, with or without the correction."""
    found = [
        _ratio(work.energy, work.by_forces + correction, work.size, chosen, nuisance)
        for correction in (np.zeros_like(work.size), work.correction)
    ]
    return max(found, key=lambda r: (r.number >= MIN_STEPS, abs(r.correlation)))


def _ratio(
    y: ndarray,
    x: ndarray,
    size: ndarray,
    chosen: ndarray,
    nuisance: Sequence[ndarray] = (),
) -> Ratio:
    y, x, size = y[chosen], x[chosen], size[chosen]
    if len(y) < 2 + 2 * len(nuisance):
        return Ratio(0.0, 0.0, 0.0, 0.0)
    weight = 1 / (size + 0.35 * np.median(size) + 1e-6) ** 6
    weight /= weight.max()
    if nuisance:
        root = np.sqrt(weight)
        columns = np.stack([n[chosen] for n in nuisance], axis=1) * root[:, None]
        columns = columns / (np.linalg.norm(columns, axis=0) + 1e-300)
        fitted = columns @ np.linalg.pinv(columns)
        before = float((weight * y * y).sum())
        x, y = (v - (fitted @ (v * root)) / root for v in (x, y))
        if float((weight * y * y).sum()) < MIN_REMAINING_FRACTION * before:
            return Ratio(0.0, 0.0, 0.0, 0.0)
    xx, yy, xy = (float((weight * p).sum()) for p in (x * x, y * y, x * y))
    if min(xx, yy, abs(xy)) <= 1e-18:
        return Ratio(0.0, 0.0, 0.0, 0.0)
    parts = weight * x * x
    number = float(parts.sum() ** 2 / (parts**2).sum())
    return Ratio(xy / xx, yy / xy, xy / float(np.sqrt(xx * yy)), number)


def _work(steps: Sequence[Step], forces: Sequence[ndarray]) -> Float[ndarray, " steps"]:
    found = []
    for s in steps:
        mean = forces[s.start] + forces[s.end] @ s.rotation
        found.append(-0.5 * float((mean * s.displacement).sum()))
    return np.array(found)


def _strain_work(
    steps: Sequence[Step], stress: Sequence[ndarray] | ndarray, volumes: Sequence[float]
) -> Float[ndarray, " steps"]:
    found = []
    for s in steps:
        a, b = s.start, s.end
        mean = volumes[a] * stress[a] + volumes[b] * stress[b] if volumes[a] else 0.0
        found.append(0.5 * float((mean * s.strain).sum()))
    return np.array(found)
