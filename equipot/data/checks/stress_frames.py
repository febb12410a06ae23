"""Single frames whose stress has another sign or unit than that of the others."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from equipot.data.checks.findings import Finding, counted, some
from equipot.data.checks.pair_model import PairModel
from equipot.data.checks.stress_convention import UNITS
from equipot.units import GPA_PER_EV_PER_A3

MIN_FRAMES = 20
"""Frames that a verdict needs."""
FAR = 10.0
"""Spreads by which a stress that is doubted is off."""
EXPLAINED = 3.0
"""Spreads by which it may be off after a conversion."""
CLEARLY = 0.15
"""Share of what it was off by that may be left after a conversion."""
KEPT = 0.8
"""Share of the frames, the best, that others are compared with."""
ROUNDS = 4
CONTRAST = 3.0
"""Typical stress over the spread of what is left of it that a verdict needs."""
MAX_FRACTION = 0.2
"""Share of the frames above which they are no exceptions."""


@dataclass(frozen=True)
class OddStress:
    """Frames whose stress is doubted."""

    members: Int[ndarray, " frames"]
    """Their positions in `PairModel.facts`."""
    findings: tuple[Finding, ...]
    """What they seem to be, or what could not be decided."""


def find_odd_stress(model: PairModel) -> OddStress:
    """Frames whose stress fits the others after a change of sign or unit only.

    Args:
        model: Pair potential fitted to the forces, which predicts the stress.

    Returns:
        Those frames, with an error for each kind of mistake.
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
    kept = off <= np.quantile(off, KEPT)
    known = float(np.sqrt((_size(labels[kept]) ** 2).mean())) / (spread + 1e-12)
    if known < CONTRAST:
        return _undecided("forces of pairs do not predict the stress")
    doubted = np.flatnonzero(off > FAR * spread)
    if len(doubted) > MAX_FRACTION * len(usable):
        return _undecided(f"{len(doubted)} of {len(usable)} are far from a prediction")
    volume = np.array([model.facts[n].volume for n in usable])
    kinds: dict[str, list[int]] = {}
    for n in doubted:
        name = _explanation(labels[n], expected[n], float(volume[n]), spread)
        if name is not None:
            kinds.setdefault(name, []).append(int(usable[n]))
    findings = tuple(_finding(model, name, frames) for name, frames in kinds.items())
    every = sorted(n for frames in kinds.values() for n in frames)
    bound = FAR / 2 * spread * GPA_PER_EV_PER_A3
    limit = Finding(
        "info",
        "stress-frames",
        f"a frame with the opposite sign of the stress is detected above {bound:.2g} "
        "GPa; smaller stresses of single frames are not verified",
    )
    return OddStress(np.array(every, dtype=int), findings or (limit,))


def _undecided(why: str) -> OddStress:
    text = f"sign and unit of the stress of single frames not verified: {why}"
    finding = Finding("info", "stress-frames", text)
    return OddStress(np.zeros(0, dtype=int), (finding,))


def _finding(model: PairModel, name: str, frames: list[int]) -> Finding:
    return Finding(
        "error",
        "stress-frames",
        f"the stress of {counted(len(frames), 'frame')} fits the others only {name}",
        some([model.facts[n].source for n in frames]),
    )


def _explanation(
    label: Float[ndarray, "3 3"],
    expected: Float[ndarray, "3 3"],
    volume: float,
    spread: float,
) -> str | None:
    """Conversion that brings a stress to what is expected; None without one."""
    known = {unit: factor for unit, factor in UNITS.items() if factor != 1}
    factors = {
        "with the other sign": -1.0,
        **{f"as one in {u}": f for u, f in known.items()},
        **{f"as one in {u} of the other sign": -f for u, f in known.items()},
        "as a virial in eV": -volume,
        "as a stress times volume in eV": volume,
    }
    # A label that shrinks to nothing would explain any expectation of about zero
    off = {
        name: float(_size(label / f - expected))
        for name, f in factors.items()
        if float(_size(label / f)) > 2 * spread
    }
    best = min(off, key=off.__getitem__, default=None)
    before = float(_size(label - expected))
    allowed = max(EXPLAINED * spread, CLEARLY * before)
    return best if best is not None and off[best] < allowed else None


def _robust_fit(
    labels: Float[ndarray, "frames 3 3"], predicted: Float[ndarray, "frames 3 3"]
) -> Float[ndarray, "frames 3 3"]:
    """Predictions times a factor plus a pressure, fitted without the worst frames."""
    columns = np.stack([predicted, np.broadcast_to(np.eye(3), predicted.shape)], axis=3)
    size = _size(labels)
    keep = size <= np.quantile(size, KEPT)
    expected = np.zeros_like(labels)
    for _ in range(ROUNDS):
        x, y = columns[keep].reshape(-1, 2), labels[keep].reshape(-1)
        factors = np.linalg.lstsq(x, y, rcond=None)[0]
        expected = columns @ factors
        off = _size(labels - expected)
        keep = off <= np.quantile(off, KEPT)
    return np.asarray(expected)


def _size(stress: Float[ndarray, "*frames 3 3"]) -> Float[ndarray, "*frames"]:
    return np.asarray(np.sqrt((stress**2).sum(axis=(-1, -2))))
