"""Judges labels one after the other: none where another one has already failed."""

from collections.abc import Iterator, Sequence

import numpy as np

from equipot.config.data import KeysConfig
from equipot.config.label_units import UnitsConfig
from equipot.data.checks.consistency import check_consistency
from equipot.data.checks.exchanged import check_exchanged
from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding
from equipot.data.checks.force_checks import SPOILT, always_zero
from equipot.data.checks.label_units import (
    check_energy_unit,
    check_force_unit,
    check_lengths,
    typical_stiffness,
)
from equipot.data.checks.mixed_levels import check_mixed_levels
from equipot.data.checks.near_frames import near_steps
from equipot.data.checks.pair_model import PairModel, fit_pair_model
from equipot.data.checks.stiffness import measure_stiffness
from equipot.data.checks.stress_convention import check_stress
from equipot.data.checks.stress_frames import find_odd_stress
from equipot.data.checks.work import measure_work, ratio_to_forces, ratio_to_stress
from equipot.data.total_energies import check_total_energies

UNIT_CHECKS = ("units", "lengths", "stress-convention", "stress-scale")
"""Checks whose errors contradict units."""


def judge_labels(facts: Sequence[Facts], keys: KeysConfig) -> Iterator[Finding]:
    """Findings about units, signs and scales, in the order in which they depend.

    Args:
        facts: Structures of all files.
        keys: Names of the labels.

    Yields:
        Errors, what was confirmed, and by name what could not be decided.
    """
    geometry = [*check_lengths(facts), *check_exchanged(facts)]
    yield from geometry
    if any(f.severity == "error" for f in geometry):
        yield _not_judged(
            "units", "energies, forces and stress", "lengths and elements"
        )
        return
    held = {f.source for f in always_zero(facts)}
    whole = [f for f in facts if not f.unexplained_zeros and f.source not in held]
    if len(whole) < (1 - SPOILT) * len(facts):
        yield from check_total_energies(facts, confirmed=False)
        yield _not_judged(
            "units",
            "energies against forces, and stress,",
            "forces that were set to zero",
        )
        return
    model = fit_pair_model(whole)
    if model is None:
        yield from check_total_energies(facts, confirmed=False)
        yield Finding(
            "info",
            "units",
            "units of energies and forces undecided: too few structures with forces",
        )
        if _stressed(facts):
            yield _undecided_stress("too few structures with forces")
        return
    yield from _judge_with_forces(facts, model, keys)


def _judge_with_forces(
    facts: Sequence[Facts], model: PairModel, keys: KeysConfig
) -> Iterator[Finding]:
    steps = list(near_steps(model.facts))
    work = measure_work(model, steps)
    ratio = ratio_to_forces(work)
    shuffled = list(check_consistency(model, facts, by_pairs=not ratio.clear))
    yield from shuffled
    if shuffled:
        if _stressed(facts):
            yield _not_judged("stress-convention", "stress", "energies and forces")
        return
    stiffness = measure_stiffness(model.facts, steps)
    found = list(check_force_unit(stiffness, ratio))
    if not any(f.severity == "error" for f in found):
        found.extend(check_energy_unit(work, model.facts))
    if not any(f.severity == "error" for f in found):
        # Those that only say that energies and forces differ come second
        shifted = list(check_mixed_levels(work, model.facts))
        found = [*shifted, *found]
    failed = any(f.severity == "error" for f in found)
    confirmed = bool(np.isfinite(typical_stiffness(stiffness))) and ratio.trusted
    yield from found
    yield from check_total_energies(facts, confirmed=confirmed and not failed)
    if failed and _stressed(facts):
        yield _not_judged("stress-convention", "stress", "energies and forces")
    elif _stressed(facts):
        odd = find_odd_stress(model)
        yield from odd.findings
        key = keys.virials or keys.stress or "stress"
        yield from check_stress(model, key, ratio_to_stress(work), odd.members.tolist())


def check_stated_units(
    found: Sequence[Finding], units: UnitsConfig
) -> Iterator[Finding]:
    """An error if units were stated and the labels contradict them.

    Args:
        found: What `judge_labels` says of the converted labels.
        units: Units of the files.
    """
    wrong = [f for f in found if f.severity == "error" and f.check in UNIT_CHECKS]
    if units.stated and wrong:
        yield Finding(
            "error",
            "units",
            f"the stated units ({units.describe()}) contradict the labels: "
            f"{wrong[0].message}",
        )


def _stressed(facts: Sequence[Facts]) -> bool:
    return any("stress" in f.structure.has for f in facts)


def _not_judged(check: str, label: str, first: str) -> Finding:
    return Finding(
        "info", check, f"{label} not judged (undecided): first correct {first}"
    )


def _undecided_stress(why: str) -> Finding:
    return Finding(
        "info",
        "stress-convention",
        f"sign, unit and order of the stress undecided: {why}",
    )
