"""Single frames whose stress has the opposite sign or another unit."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from equipot.data.checks.findings import Finding, counted, first_sources
from equipot.data.checks.pair_model import PairModel
from equipot.data.checks.stress_convention import UNITS
from equipot.units import GPA_PER_EV_PER_A3

MIN_FRAMES = 20
"""Minimum number of frames."""
OUTLIER_SPREADS = 10.0
"""Number of spreads beyond which the stress of a frame is an outlier."""
MAX_CONVERTED_SPREADS = 3.0
"""Number of spreads within which a converted stress is accepted."""
MAX_REMAINING_FRACTION = 0.15
"""Maximum deviation after the conversion, as a fraction of that before."""
INLIER_FRACTION = 0.8
"""Fraction of the frames, those that fit best, that define the spread."""
NUM_ITERATIONS = 4
MIN_SIGNAL_TO_NOISE = 3.0
"""Minimum ratio of the typical stress to the spread of its deviations."""
MAX_OUTLIER_FRACTION = 0.2
"""Maximum fraction of outliers among the frames."""


@dataclass(frozen=True)
class StressOutliers:
    """Frames with outlying stress."""

    members: Int[ndarray, " frames"]
    """Indices of the frames in `PairModel.facts`."""
    findings: tuple[Finding, ...]
    """Conversions that explain the outliers, or what is undecided."""


def find_stress_outliers(model: PairModel) -> StressOutliers:
    """Find frames whose stress fits the others only after a change of sign or unit.

    Args:
        model: Pair potential fitted to the forces, which predicts the stress.

    Returns:
        Those frames, with an error for each kind of conversion.
    """
    stress = np.array([f.stress for f in model.facts])
    usable = np.flatnonzero(
        np.isfinite(stress).all(axis=(1, 2))
        & np.isfinite(model.stress).all(axis=(1, 2))
    )
    if len(usable) < MIN_FRAMES:
        return _undecided("too few frames")
    labels, predicted = stress[usable], model.stress[usable]
    expected = _robust_fit(labels, predicted)
    off = _size(labels - expected)
    spread = float(np.median(off)) + 1e-12
    kept = off <= np.quantile(off, INLIER_FRACTION)
    known = float(np.sqrt((_size(labels[kept]) ** 2).mean())) / (spread + 1e-12)
    if known < MIN_SIGNAL_TO_NOISE:
        return _undecided("a pair potential does not predict the stress")
    outliers = np.flatnonzero(off > OUTLIER_SPREADS * spread)
    if len(outliers) > MAX_OUTLIER_FRACTION * len(usable):
        return _undecided(f"{len(outliers)} of {len(usable)} are outliers")
    volume = np.array([model.facts[n].volume for n in usable])
    kinds: dict[str, list[int]] = {}
    for n in outliers:
        name = _explanation(labels[n], expected[n], float(volume[n]), spread)
        if name is not None:
            kinds.setdefault(name, []).append(int(usable[n]))
    findings = tuple(_finding(model, name, frames) for name, frames in kinds.items())
    every = sorted(n for frames in kinds.values() for n in frames)
    bound = OUTLIER_SPREADS / 2 * spread * GPA_PER_EV_PER_A3
    limit = Finding(
        "info",
        "stress-frames",
        "a frame with the opposite sign of the stress is detected above "
        f"{bound:.2g} GPa; smaller values are undecided for single frames",
    )
    return StressOutliers(np.array(every, dtype=int), findings or (limit,))


def _undecided(why: str) -> StressOutliers:
    text = f"undecided whether single frames have another sign or unit of stress: {why}"
    finding = Finding("info", "stress-frames", text)
    return StressOutliers(np.zeros(0, dtype=int), (finding,))


def _finding(model: PairModel, name: str, frames: list[int]) -> Finding:
    return Finding(
        "error",
        "stress-frames",
        f"the stress of {counted(len(frames), 'frame')} fits the others only {name}",
        first_sources([model.facts[n].source for n in frames]),
    )


def _explanation(
    label: Float[ndarray, "3 3"],
    expected: Float[ndarray, "3 3"],
    volume: float,
    spread: float,
) -> str | None:
    """Conversion that maps the label to the expected stress; None if there is none."""
    known = {unit: factor for unit, factor in UNITS.items() if factor != 1}
    factors = {
        "with the opposite sign": -1.0,
        **{f"as one in {u}": f for u, f in known.items()},
        **{f"as one in {u} of opposite sign": -f for u, f in known.items()},
        "as a virial in eV": -volume,
        "as a stress times volume in eV": volume,
    }
    # A label converted to almost zero would match any small expected stress
    off = {
        name: float(_size(label / f - expected))
        for name, f in factors.items()
        if float(_size(label / f)) > 2 * spread
    }
    best = min(off, key=off.__getitem__, default=None)
    before = float(_size(label - expected))
    allowed = max(MAX_CONVERTED_SPREADS * spread, MAX_REMAINING_FRACTION * before)
    return best if best is not None and off[best] < allowed else None


def _robust_fit(
    labels: Float[ndarray, "frames 3 3"], predicted: Float[ndarray, "frames 3 3"]
) -> Float[ndarray, "frames 3 3"]:
    """Fit labels by predictions times a factor plus a pressure, without outliers."""
    columns = np.stack([predicted, np.broadcast_to(np.eye(3), predicted.shape)], axis=3)
    size = _size(labels)
    keep = size <= np.quantile(size, INLIER_FRACTION)
    expected = np.zeros_like(labels)
    for _ in range(NUM_ITERATIONS):
        x, y = columns[keep].reshape(-1, 2), labels[keep].reshape(-1)
        factors = np.linalg.lstsq(x, y, rcond=None)[0]
        expected = columns @ factors
        off = _size(labels - expected)
        keep = off <= np.quantile(off, INLIER_FRACTION)
    return np.asarray(expected)


def _size(stress: Float[ndarray, "*frames 3 3"]) -> Float[ndarray, "*frames"]:
    return np.asarray(np.sqrt((stress**2).sum(axis=(-1, -2))))
