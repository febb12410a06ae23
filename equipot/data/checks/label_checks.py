"""Run the label checks in order; skip those whose inputs have already failed."""

from collections.abc import Iterator, Sequence

import numpy as np

from equipot.config.data import KeysConfig
from equipot.config.label_units import UnitsConfig
from equipot.data.checks.consistency import check_consistency
from equipot.data.checks.exchanged import check_exchanged
from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding
from equipot.data.checks.force_checks import MAX_ZEROED_FRACTION, always_zero
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
from equipot.data.checks.stress_frames import find_stress_outliers
from equipot.data.checks.work import measure_work, ratio_to_forces, ratio_to_stress
from equipot.data.total_energies import check_total_energies

UNIT_CHECKS = ("units", "lengths", "stress-convention", "stress-scale")
"""Checks whose errors contradict the stated units."""


def check_labels(facts: Sequence[Facts], keys: KeysConfig) -> Iterator[Finding]:
    """Findings about units, signs and scales, in the order of their dependencies.

    Args:
        facts: Structures of all files.
        keys: Names of the labels.

    Yields:
        Errors, what was confirmed, and which checks were undecided.
    """
    geometry = [*check_lengths(facts), *check_exchanged(facts)]
    yield from geometry
    if any(f.severity == "error" for f in geometry):
        yield _skipped("units", "energies, forces and stress", "lengths and elements")
        return
    held = {f.source for f in always_zero(facts)}
    whole = [f for f in facts if not f.unexplained_zeros and f.source not in held]
    if len(whole) < (1 - MAX_ZEROED_FRACTION) * len(facts):
        yield from check_total_energies(facts, confirmed=False)
        yield _skipped(
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
    yield from _check_with_forces(facts, model, keys)


def _check_with_forces(
    facts: Sequence[Facts], model: PairModel, keys: KeysConfig
) -> Iterator[Finding]:
    steps = list(near_steps(model.facts))
    work = measure_work(model, steps)
    ratio = ratio_to_forces(work)
    shuffled = list(check_consistency(model, facts, by_pairs=not ratio.clear))
    yield from shuffled
    if shuffled:
        if _stressed(facts):
            yield _skipped("stress-convention", "stress", "energies and forces")
        return
    stiffness = measure_stiffness(model.facts, steps)
    found = list(check_force_unit(stiffness, ratio))
    if not any(f.severity == "error" for f in found):
        found.extend(check_energy_unit(work, model.facts))
    if not any(f.severity == "error" for f in found):
        # Checks that only detect a mismatch of energies and forces come second
        shifted = list(check_mixed_levels(work, model.facts))
        found = [*shifted, *found]
    failed = any(f.severity == "error" for f in found)
    confirmed = bool(np.isfinite(typical_stiffness(stiffness))) and ratio.trusted
    yield from found
    yield from check_total_energies(facts, confirmed=confirmed and not failed)
    if failed and _stressed(facts):
        yield _skipped("stress-convention", "stress", "energies and forces")
    elif _stressed(facts):
        odd = find_stress_outliers(model)
        yield from odd.findings
        key = keys.virials or keys.stress or "stress"
        yield from check_stress(model, key, ratio_to_stress(work), odd.members.tolist())


def check_stated_units(
    found: Sequence[Finding], units: UnitsConfig
) -> Iterator[Finding]:
    """Report an error if the labels contradict the stated units.

    Args:
        found: Findings of `check_labels` on the converted labels.
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


def _skipped(check: str, label: str, first: str) -> Finding:
    return Finding("info", check, f"{label} skipped (undecided): first correct {first}")


def _undecided_stress(why: str) -> Finding:
    return Finding(
        "info",
        "stress-convention",
        f"sign, unit and order of the stress undecided: {why}",
    )
