r"""Differences of energy between near frames, and the work that the labels say.

Between two frames the energy changes by the work of the forces and of the stress,

.. math:: \Delta E = -\tfrac12 \sum_i (F_i^a + F_i^b) \cdot \Delta r_i
          + \tfrac12 (V_a \sigma_a + V_b \sigma_b) : \Delta\varepsilon + O(\Delta^3).

The error of this trapezoidal rule is known for the fitted pair potential and is
corrected, where that helps. Steps weigh by the inverse of their error, Δ^-6 in squares.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from equipot.data.checks.near_frames import Step
from equipot.data.checks.pair_model import PairModel

FEWEST = 8.0
"""Effective number of steps that a verdict needs."""
UNSTRAINED = 1e-5
"""Strain up to which the stress does no work."""
TRUSTED = 0.9
"""Correlation that tells a factor of 1.5."""
LEAST_SHARE = 0.02
"""Share of the squares of the energies that cells must leave to the forces."""
CLEAR = 0.5
"""Correlation that tells a sign, and factors far outside of the bracket."""


@dataclass(frozen=True)
class Ratio:
    """How many times a work the difference of energy is."""

    low: float
    """Regression of the energies on the work."""
    high: float
    """Inverse regression of the work on the energies."""
    correlation: float
    """Between the two, about zero."""
    number: float
    """Effective number of steps."""

    @property
    def value(self) -> float:
        """Geometric mean of the two regressions, with their sign."""
        return float(np.sign(self.low) * np.sqrt(abs(self.low * self.high)))

    @property
    def clear(self) -> bool:
        """Whether it tells a sign and a unit."""
        return self.number >= FEWEST and abs(self.correlation) >= CLEAR

    @property
    def trusted(self) -> bool:
        """Whether it tells a factor of 1.5."""
        return self.number >= FEWEST and abs(self.correlation) >= TRUSTED


@dataclass(frozen=True)
class Work:
    """Energies and works of the steps between near frames."""

    start: Int[ndarray, " steps"]
    """First frame of each, in the order of `PairModel.facts`."""
    end: Int[ndarray, " steps"]
    """Second frame."""
    size: Float[ndarray, " steps"]
    """Length of the step in Å."""
    strained: Bool[ndarray, " steps"]
    """Whether the cell changes."""
    energy: Float[ndarray, " steps"]
    """Difference of the energy labels in eV."""
    by_forces: Float[ndarray, " steps"]
    """Work of the forces in eV; in strained steps without that of the stress."""
    correction: Float[ndarray, " steps"]
    """What the trapezoidal rule misses of a pair potential, in eV."""
    by_stress: Float[ndarray, " steps"]
    """Work of the stress labels in eV; NaN without."""
    by_pairs: Float[ndarray, " steps"]
    """Work of the stress of the pair potential in eV."""
    expansion: Float[ndarray, " steps"]
    """Change of the volume in Å^3."""


def measure_work(model: PairModel, steps: Sequence[Step]) -> Work:
    """Compare near frames.

    Args:
        model: Pair potential, with the frames that it was fitted to.
        steps: Between these frames.

    Returns:
        Work of those steps whose ends have energies; possibly none.
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
        strained=np.array([np.abs(s.strain).max() > UNSTRAINED for s in steps], bool),
        energy=energies[end] - energies[start],
        by_forces=_work(steps, [f.forces for f in facts]),
        correction=model.energy[end] - model.energy[start] - pairs - stretch,
        by_stress=_strain_work(steps, [f.stress for f in facts], volumes),
        by_pairs=stretch,
        expansion=np.array([volumes[s.end] - volumes[s.start] for s in steps]),
    )


def ratio_to_forces(work: Work) -> Ratio:
    """Energies over the work of the forces, between frames of one cell if that does.

    Without enough of them, what is proportional to the work of the stress is taken out
    of both, whatever its sign and unit.
    """
    found = _best(work, ~work.strained, [])
    if found.number >= FEWEST:
        return found
    every = np.ones(len(work.size), dtype=bool)
    if np.isfinite(work.by_stress).all():
        found = _best(work, every, [work.by_stress])
    else:
        found = _best(work, every, [work.by_pairs, work.expansion])
    return found if found.trusted else replace(found, number=0.0)


def ratio_to_stress(work: Work) -> Ratio:
    """Energies, less the work of the forces, over the work of the stress."""
    chosen = work.strained & np.isfinite(work.by_stress)
    found = []
    for correction in (np.zeros_like(work.size), work.correction):
        left = work.energy - work.by_forces - correction
        found.append(_ratio(left, work.by_stress, work.size, chosen))
    return max(found, key=lambda r: (r.number >= FEWEST, abs(r.correlation)))


def residual(work: Work) -> Float[ndarray, " steps"]:
    """Differences of energy that the labels do not explain, by the better rule."""
    known = np.where(work.strained, work.by_stress, 0.0)
    known = np.where(np.isfinite(known), known, work.by_pairs)
    plain = work.energy - work.by_forces - known
    corrected = plain - work.correction
    typical = [np.median(np.abs(r)) if len(r) else 0.0 for r in (plain, corrected)]
    return plain if typical[0] < typical[1] else corrected


def _best(
    work: Work, chosen: Bool[ndarray, " steps"], nuisance: Sequence[ndarray]
) -> Ratio:
    """The better correlated of the rules with and without the correction."""
    found = [
        _ratio(work.energy, work.by_forces + correction, work.size, chosen, nuisance)
        for correction in (np.zeros_like(work.size), work.correction)
    ]
    return max(found, key=lambda r: (r.number >= FEWEST, abs(r.correlation)))


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
        if float((weight * y * y).sum()) < LEAST_SHARE * before:
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
