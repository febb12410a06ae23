"""Sign, unit and order of stress labels, judged by a fit of pairs to the forces."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from equipot.data.checks.findings import Finding
from equipot.data.checks.pair_model import ORDERS, PairModel
from equipot.data.checks.work import Ratio
from equipot.units import GPA_PER_EV_PER_A3

MIN_FRAMES = 8
"""Structures that a verdict needs."""
MIN_SHEAR_CORRELATION = 0.75
"""Correlation of shear components that a verdict needs."""
MIN_PRESSURE_CORRELATION = 0.85
"""Correlation of pressures that a verdict needs."""
MIN_CORRELATION_GAIN = 0.2
"""How much better another order of components must correlate."""
MIN_GROUP_CORRELATION = 0.85
"""The same in one of several groups, where chance has more tries."""
MAX_PAIR_MODEL_RATIO = 5.0
"""Factor from eV/Å^3 that a pair potential may be wrong by."""
MAX_LOG_UNIT_ERROR = 0.7
"""Logarithm of the factor within which another unit is recognized."""
MIN_LOG_UNIT_DIFFERENCE = 0.4
"""Difference of these logarithms up to which two units are both possible."""
MIN_WORK_RATIO = 1.33
"""Factor from the work that energies show that a stress cannot have."""
SCALED_PAIRS = 1.5
"""Factor from the pair potential that it cannot have where pairs describe it well."""
MIN_PRECISE_CORRELATION = 0.97
"""Correlation with the pair potential that this needs."""
MIN_EXPLAINED_FORCES = 0.9
"""Share of the forces that the pair potential must explain for it."""
UNITS = {
    "eV/Å^3": 1.0,
    "GPa": GPA_PER_EV_PER_A3,
    "kbar": 10 * GPA_PER_EV_PER_A3,
    "MPa": 1e3 * GPA_PER_EV_PER_A3,
    "bar": 1e4 * GPA_PER_EV_PER_A3,
    "Pa": 1e9 * GPA_PER_EV_PER_A3,
    "meV/Å^3": 1e3,
    "Hartree/Bohr^3": 0.0054458,
    "Ry/Bohr^3": 0.0108916,
}
SHEAR = ("yz", "xz", "xy")


@dataclass(frozen=True)
class Verdict:
    """What stress labels seem to be."""

    sign: int
    """1 if positive in tension, -1 if positive in compression."""
    factor: float
    """Labels as a multiple of the stress in eV/Å^3, without the sign."""
    unit: str | None
    """Unit that explains the factor, or several; None if no known one does."""
    order: tuple[int, ...] | None
    """Shear component that stands where yz, xz, xy should; None if undecided."""
    correlation: float
    """Correlation with the pair potential, between 0 and 1."""

    @property
    def wrong(self) -> bool:
        """Whether labels follow another convention, as far as was decided."""
        return (
            self.sign < 0
            or self.unit not in {None, "eV/Å^3"}
            or self.order not in {None, (0, 1, 2)}
        )

    def repeats(self, other: "Verdict") -> bool:
        """Whether it says nothing that the other does not say."""
        return (
            self.sign == other.sign
            and (self.unit == "eV/Å^3") == (other.unit == "eV/Å^3")
            and self.order in {None, other.order}
        )

    def describe(self) -> str:
        """The verdict in words."""
        sign = "positive in tension" if self.sign > 0 else "positive in compression"
        unit = self.unit or f"in an unknown unit ({self.factor:.3g} per eV/Å^3)"
        order = (
            "order of shear components undecided"
            if self.order is None
            else "order xx yy zz " + " ".join(SHEAR[k] for k in self.order)
        )
        return f"{sign}, {unit}, {order} (correlation {self.correlation:.2f})"


def judge_stress(
    predicted: Float[ndarray, "structures 3 3"],
    labels: Float[ndarray, "structures 3 3"],
    volume: Float[ndarray, " structures"],
) -> Verdict | None:
    """Compare labels with what a pair potential predicts from the forces.

    Args:
        predicted: Stress of the pair potential in eV/Å^3, positive in tension.
        labels: Stress labels in whatever convention.
        volume: Volumes in Å^3.

    Returns:
        The verdict, or None if the correlation is too weak for one.
    """
    if len(labels) < MIN_FRAMES:
        return None
    by_shear = _judge_shear(_shear(predicted), _shear(labels), volume)
    return by_shear or _judge_pressure(predicted, labels, volume)


def _judge_shear(
    predicted: Float[ndarray, "structures 3"],
    labels: Float[ndarray, "structures 3"],
    volume: Float[ndarray, " structures"],
) -> Verdict | None:
    """Verdict by shear components, which tell their order as well."""
    straight = ORDERS[0]
    by_order = {o: _correlation(labels, predicted[:, o]) for o in ORDERS}
    best = max(ORDERS, key=lambda o: abs(by_order[o]))
    if (
        abs(by_order[best]) < MIN_SHEAR_CORRELATION
        or _effective_number(labels) < MIN_FRAMES
    ):
        return None
    if abs(by_order[best]) - abs(by_order[straight]) < MIN_CORRELATION_GAIN:
        best = straight
    runner_up = max(abs(by_order[o]) for o in ORDERS if o != best)
    decided = best != straight or abs(by_order[best]) - runner_up > MIN_CORRELATION_GAIN
    factor, unit = _unit(labels, predicted[:, best], volume)
    sign = 1 if by_order[best] > 0 else -1
    return Verdict(sign, factor, unit, best if decided else None, abs(by_order[best]))


def _judge_pressure(
    predicted: Float[ndarray, "structures 3 3"],
    labels: Float[ndarray, "structures 3 3"],
    volume: Float[ndarray, " structures"],
) -> Verdict | None:
    """Verdict by differences of pressure, for want of shear."""
    expected = np.trace(predicted, axis1=1, axis2=2) / 3
    given = np.trace(labels, axis1=1, axis2=2) / 3
    expected, given = expected - expected.mean(), given - given.mean()
    correlation = _correlation(given, expected)
    if (
        abs(correlation) < MIN_PRESSURE_CORRELATION
        or _effective_number(given) < MIN_FRAMES / 2
    ):
        return None
    factor, unit = _unit(given, expected, volume)
    return Verdict(1 if correlation > 0 else -1, factor, unit, None, abs(correlation))


def _effective_number(values: ndarray) -> float:
    """How many values carry the sum of squares: 1 if a single one does."""
    squares = values.reshape(-1) ** 2
    return float(squares.sum() ** 2 / ((squares**2).sum() + 1e-300))


def check_stress(
    model: PairModel, key: str, ratio: Ratio, odd: Sequence[int] = ()
) -> Iterator[Finding]:
    """Findings about the convention of stress labels, over all and in each group.

    Args:
        model: Pair potential fitted to the forces.
        key: Name of the labels, for messages.
        ratio: Energies, less the work of the forces, over the work of the stress.
        odd: Positions of frames that are left aside.

    Yields:
        An error if labels follow another convention or are scaled, otherwise what was
        seen.
    """
    usable = [
        n
        for n, f in enumerate(model.facts)
        if n not in set(odd)
        and np.isfinite(f.stress).all()
        and np.isfinite(model.stress[n]).all()
    ]
    if not usable:
        return
    found = list(_check_convention(model, key, usable))
    yield from found
    if not any(f.severity == "error" for f in found):
        yield from _check_scale(model, key, usable, ratio)


def _check_scale(
    model: PairModel, key: str, usable: Sequence[int], ratio: Ratio
) -> Iterator[Finding]:
    """Findings about the size of the stress, by its work or by the pair potential."""
    if ratio.trusted:
        low, high = sorted((abs(ratio.low), abs(ratio.high)))
        seen = (
            f"where cells change, energies differ by {ratio.value:.3g} times the work "
            f"of {key} (correlation {ratio.correlation:.2f})"
        )
        if ratio.value < 0 or low > MIN_WORK_RATIO or high < 1 / MIN_WORK_RATIO:
            yield Finding(
                "error",
                "stress-scale",
                f"{seen}: expected 1; is it scaled, of the other sign, a virial, or in "
                "another unit than eV/Å^3?",
            )
        else:
            yield Finding("info", "stress-scale", seen)
        return
    verdict = _judge(model, usable)
    known = verdict is not None and (
        verdict.correlation > MIN_PRECISE_CORRELATION
        and model.explained > MIN_EXPLAINED_FORCES
    )
    if verdict is None:
        return
    if known and not 1 / SCALED_PAIRS < verdict.factor < SCALED_PAIRS:
        yield Finding(
            "error",
            "stress-scale",
            f"{key} is {verdict.factor:.2g} times the stress of a pair potential that "
            f"reproduces {model.explained:.0%} of the variance of the forces: is it "
            "scaled?",
        )
    elif not known:
        yield Finding(
            "info",
            "stress-scale",
            f"a scaling of {key} by less than a factor of {MAX_PAIR_MODEL_RATIO:g} "
            "would not be detected: there are no similar frames with different cells, "
            "and a pair potential does not describe the forces well enough",
        )


def _check_convention(
    model: PairModel, key: str, usable: Sequence[int]
) -> Iterator[Finding]:
    verdict = _judge(model, usable)
    if verdict is None:
        yield Finding(
            "info",
            "stress-convention",
            f"sign, unit and order of {key} not verified: the forces do not determine "
            "the stress of these structures; check a compressed crystal by hand",
        )
    else:
        yield _finding(verdict, key, "")
    groups: dict[str, list[int]] = {}
    for n in usable:
        groups.setdefault(model.facts[n].structure.config_type, []).append(n)
    if len(groups) < 2:
        return
    for name, members in sorted(groups.items()):
        own = _judge(model, members)
        if own is None or own.correlation < MIN_GROUP_CORRELATION or own.order is None:
            continue
        if own.wrong and (verdict is None or not own.repeats(verdict)):
            yield _finding(own, key, f" in the group {name!r}")


def _judge(model: PairModel, members: Sequence[int]) -> Verdict | None:
    return judge_stress(
        model.stress[list(members)],
        np.stack([model.facts[n].stress for n in members]),
        np.array([model.facts[n].volume for n in members]),
    )


def _finding(verdict: Verdict, key: str, where: str) -> Finding:
    if not verdict.wrong:
        return Finding(
            "info" if verdict.unit is not None else "warning",
            "stress-convention",
            f"{key}{where} is {verdict.describe()}",
        )
    return Finding(
        "error",
        "stress-convention",
        f"{key}{where} seems to be {verdict.describe()}; expected positive in tension, "
        "eV/Å^3, order xx yy zz yz xz xy: convert it",
    )


def _shear(stress: Float[ndarray, "structures 3 3"]) -> Float[ndarray, "structures 3"]:
    return np.stack([stress[:, 1, 2], stress[:, 0, 2], stress[:, 0, 1]], axis=1)


def _correlation(a: ndarray, b: ndarray) -> float:
    """Correlation about zero; 0 if one of the two vanishes."""
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm > 0 else 0.0


def _unit(
    labels: ndarray, predicted: ndarray, volume: Float[ndarray, " structures"]
) -> tuple[float, str | None]:
    """Ratio of labels to predictions, and the unit that explains it best."""
    factor = float(np.sqrt((labels**2).sum() / (predicted**2).sum()))
    if 1 / MAX_PAIR_MODEL_RATIO < factor < MAX_PAIR_MODEL_RATIO:
        return factor, "eV/Å^3"
    mismatch = {unit: abs(np.log(factor / u)) for unit, u in UNITS.items()}
    shape = (-1,) + (1,) * (predicted.ndim - 1)
    virial = predicted * volume.reshape(shape)
    ratio = float(np.sqrt((labels**2).sum() / (virial**2).sum()))
    better = abs(_correlation(labels, virial)) >= abs(_correlation(labels, predicted))
    if better:
        mismatch["eV (a virial: stress times volume)"] = abs(np.log(ratio))
    close = [
        u
        for u in sorted(mismatch, key=lambda u: mismatch[u])
        if mismatch[u] < MAX_LOG_UNIT_ERROR
    ]
    likely = [
        u for u in close if mismatch[u] < mismatch[close[0]] + MIN_LOG_UNIT_DIFFERENCE
    ]
    return factor, " or ".join(likely) or None
