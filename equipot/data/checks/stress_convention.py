"""Sign, unit and component order of stress labels, inferred from fitted pair forces."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from equipot.data.checks.findings import Finding
from equipot.data.checks.pair_model import ORDERS, PairModel
from equipot.data.checks.work import Ratio
from equipot.units import GPA_PER_EV_PER_A3

MIN_STRUCTURES = 8
"""Minimum number of structures."""
MIN_SHEAR_CORRELATION = 0.75
"""Minimum correlation of shear components."""
MIN_PRESSURE_CORRELATION = 0.85
"""Minimum correlation of pressures."""
MIN_CORRELATION_GAIN = 0.2
"""Minimum gain of correlation for another order of components."""
MIN_GROUP_CORRELATION = 0.85
"""Minimum correlation for a single group, which is more subject to chance."""
MAX_PAIR_MODEL_RATIO = 5.0
"""Maximum error factor of the stress of the pair potential."""
MAX_LOG_UNIT_ERROR = 0.7
"""Maximum error of the logarithm of the factor for a unit to be identified."""
MIN_LOG_UNIT_DIFFERENCE = 0.4
"""Minimum difference of these errors for one of two units to be excluded."""
MIN_WORK_RATIO = 1.33
"""Ratio of energy differences to the work of the stress that is an error."""
MAX_PRECISE_RATIO = 1.5
"""Ratio of the stress to that of an accurate pair potential that is an error."""
MIN_PRECISE_CORRELATION = 0.97
"""Minimum correlation with the pair potential for it to count as accurate."""
MIN_EXPLAINED_FORCES = 0.9
"""Minimum explained variance of the forces for it to count as accurate."""
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
class StressConvention:
    """Convention that stress labels seem to follow."""

    sign: int
    """1 if positive in tension, -1 if positive in compression."""
    factor: float
    """Labels as a multiple of the stress in eV/Å^3, without the sign."""
    unit: str | None
    """Unit or units that match the factor; None if no known unit does."""
    order: tuple[int, ...] | None
    """Shear components found in place of yz, xz, xy; None if undecided."""
    correlation: float
    """Correlation with the pair potential, between 0 and 1."""

    @property
    def wrong(self) -> bool:
        """Whether labels follow another convention, in what was decided."""
        return (
            self.sign < 0
            or self.unit not in {None, "eV/Å^3"}
            or self.order not in {None, (0, 1, 2)}
        )

    def repeats(self, other: "StressConvention") -> bool:
        """Whether this convention adds nothing to another one."""
        return (
            self.sign == other.sign
            and (self.unit == "eV/Å^3") == (other.unit == "eV/Å^3")
            and self.order in {None, other.order}
        )

    def describe(self) -> str:
        """Description in words."""
        sign = "positive in tension" if self.sign > 0 else "positive in compression"
        unit = self.unit or f"in an unknown unit ({self.factor:.3g} per eV/Å^3)"
        order = (
            "order of shear components undecided"
            if self.order is None
            else "order xx yy zz " + " ".join(SHEAR[k] for k in self.order)
        )
        return f"{sign}, {unit}, {order} (correlation {self.correlation:.2f})"


def infer_stress_convention(
    predicted: Float[ndarray, "structures 3 3"],
    labels: Float[ndarray, "structures 3 3"],
    volume: Float[ndarray, " structures"],
) -> StressConvention | None:
    """Infer the convention of stress labels from the stress of a pair potential.

    Args:
        predicted: Stress of the pair potential in eV/Å^3, positive in tension.
        labels: Stress labels in any convention.
        volume: Volumes in Å^3.

    Returns:
        Convention, or None if the correlation is too weak.
    """
    if len(labels) < MIN_STRUCTURES:
        return None
    from_shear = _infer_from_shear(_shear(predicted), _shear(labels), volume)
    return from_shear or _infer_from_pressure(predicted, labels, volume)


def _infer_from_shear(
    predicted: Float[ndarray, "structures 3"],
    labels: Float[ndarray, "structures 3"],
    volume: Float[ndarray, " structures"],
) -> StressConvention | None:
    """Infer the convention, with the component order, from shear components."""
    straight = ORDERS[0]
    by_order = {o: _correlation(labels, predicted[:, o]) for o in ORDERS}
    best = max(ORDERS, key=lambda o: abs(by_order[o]))
    if (
        abs(by_order[best]) < MIN_SHEAR_CORRELATION
        or _effective_number(labels) < MIN_STRUCTURES
    ):
        return None
    if abs(by_order[best]) - abs(by_order[straight]) < MIN_CORRELATION_GAIN:
        best = straight
    runner_up = max(abs(by_order[o]) for o in ORDERS if o != best)
    decided = best != straight or abs(by_order[best]) - runner_up > MIN_CORRELATION_GAIN
    factor, unit = _unit(labels, predicted[:, best], volume)
    sign = 1 if by_order[best] > 0 else -1
    return StressConvention(
        sign, factor, unit, best if decided else None, abs(by_order[best])
    )


def _infer_from_pressure(
    predicted: Float[ndarray, "structures 3 3"],
    labels: Float[ndarray, "structures 3 3"],
    volume: Float[ndarray, " structures"],
) -> StressConvention | None:
    """Infer the convention from pressure differences, if shear is insufficient."""
    expected = np.trace(predicted, axis1=1, axis2=2) / 3
    given = np.trace(labels, axis1=1, axis2=2) / 3
    expected, given = expected - expected.mean(), given - given.mean()
    correlation = _correlation(given, expected)
    if (
        abs(correlation) < MIN_PRESSURE_CORRELATION
        or _effective_number(given) < MIN_STRUCTURES / 2
    ):
        return None
    factor, unit = _unit(given, expected, volume)
    return StressConvention(
        1 if correlation > 0 else -1, factor, unit, None, abs(correlation)
    )


def _effective_number(values: ndarray) -> float:
    """Effective number of values in the sum of squares: 1 if a single one dominates."""
    squares = values.reshape(-1) ** 2
    return float(squares.sum() ** 2 / ((squares**2).sum() + 1e-300))


def check_stress(
    model: PairModel, key: str, ratio: Ratio, odd: Sequence[int] = ()
) -> Iterator[Finding]:
    """Findings about the convention of stress labels, for all frames and each group.

    Args:
        model: Pair potential fitted to the forces.
        key: Key of the labels, for messages.
        ratio: Energies minus the work of the forces, over the work of the stress.
        odd: Indices of frames to exclude.

    Yields:
        An error if labels follow another convention or are scaled, otherwise an info
        with the convention.
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
    """Findings about the scale of the stress, by its work or by the pair potential."""
    if ratio.trusted:
        low, high = sorted((abs(ratio.low), abs(ratio.high)))
        seen = (
            "between frames with different cells, energy differences are "
            f"{ratio.value:.3g} times the work "
            f"of {key} (correlation {ratio.correlation:.2f})"
        )
        if ratio.value < 0 or low > MIN_WORK_RATIO or high < 1 / MIN_WORK_RATIO:
            yield Finding(
                "error",
                "stress-scale",
                f"{seen}: expected 1; is it scaled, of opposite sign, a virial, or in "
                "another unit than eV/Å^3?",
            )
        else:
            yield Finding("info", "stress-scale", seen)
        return
    convention = _infer(model, usable)
    known = convention is not None and (
        convention.correlation > MIN_PRECISE_CORRELATION
        and model.explained > MIN_EXPLAINED_FORCES
    )
    if convention is None:
        return
    if known and not 1 / MAX_PRECISE_RATIO < convention.factor < MAX_PRECISE_RATIO:
        yield Finding(
            "error",
            "stress-scale",
            f"{key} is {convention.factor:.2g} times that of a pair potential, which "
            f"explains {model.explained:.0%} of the forces: is it scaled?",
        )
    elif not known:
        yield Finding(
            "info",
            "stress-scale",
            f"undecided whether {key} is scaled by less than a factor of "
            f"{MAX_PAIR_MODEL_RATIO:g}: there are no near frames with different cells, "
            "and a pair potential is not accurate enough",
        )


def _check_convention(
    model: PairModel, key: str, usable: Sequence[int]
) -> Iterator[Finding]:
    convention = _infer(model, usable)
    if convention is None:
        yield Finding(
            "info",
            "stress-convention",
            f"sign, unit and order of {key} undecided: the forces determine the stress "
            "of these structures too poorly; check a compressed crystal by hand",
        )
    else:
        yield _finding(convention, key, "")
    groups: dict[str, list[int]] = {}
    for n in usable:
        groups.setdefault(model.facts[n].structure.config_type, []).append(n)
    if len(groups) < 2:
        return
    for name, members in sorted(groups.items()):
        own = _infer(model, members)
        if own is None or own.correlation < MIN_GROUP_CORRELATION or own.order is None:
            continue
        if own.wrong and (convention is None or not own.repeats(convention)):
            yield _finding(own, key, f" in the group {name!r}")


def _infer(model: PairModel, members: Sequence[int]) -> StressConvention | None:
    return infer_stress_convention(
        model.stress[list(members)],
        np.stack([model.facts[n].stress for n in members]),
        np.array([model.facts[n].volume for n in members]),
    )


def _finding(convention: StressConvention, key: str, where: str) -> Finding:
    if not convention.wrong:
        return Finding(
            "info" if convention.unit is not None else "warning",
            "stress-convention",
            f"{key}{where} is {convention.describe()}",
        )
    return Finding(
        "error",
        "stress-convention",
        f"{key}{where} seems to be {convention.describe()}; expected positive in "
        "tension, eV/Å^3, order xx yy zz yz xz xy: convert it",
    )


def _shear(stress: Float[ndarray, "structures 3 3"]) -> Float[ndarray, "structures 3"]:
    return np.stack([stress[:, 1, 2], stress[:, 0, 2], stress[:, 0, 1]], axis=1)


def _correlation(a: ndarray, b: ndarray) -> float:
    """Correlation without subtraction of means; 0 if one of the two vanishes."""
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
