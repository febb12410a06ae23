"""The result of an evaluation in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from scipy.stats import spearmanr

from equipot.evaluation.results import Evaluation
from equipot.report.domain import closeness, unseen_pairs
from equipot.report.parts.numbers import grouped, r_squared, shown
from equipot.report.quantities import QUANTITIES, Quantity, labeled
from equipot.units import MEV_PER_EV

MIN_OFFSET_STRUCTURES: Final = 5
"""Structures that must share an error before it is called an offset."""
MIN_SAMPLES: Final = 30
"""Structures or forces below which statistics are not reliable."""


def verdict(evaluation: Evaluation) -> str:
    """One or two sentences: errors beside the standard deviation of the labels."""
    present = sorted(labeled(evaluation), key=lambda q: q.key != "forces")[:2]
    if not present:
        return "No errors: the data have no labels."
    metrics = evaluation.metrics
    return " ".join(_sentence(q, metrics[q.key]["overall"]) for q in present)


def committee_sentence(evaluation: Evaluation) -> str | None:
    """Spread of a committee, and its rank correlation with the errors.

    Args:
        evaluation: Result to judge.

    Returns:
        A sentence; None unless the potential is a committee.
    """
    spread = evaluation.spread
    if spread is None or not len(spread.forces):
        return None
    error = np.linalg.norm(evaluation.forces.error, axis=1)
    known = np.isfinite(error)
    text = (
        f"Committee of {spread.members}: the standard deviation of the force on an "
        f"atom between members is {shown(MEV_PER_EV * spread.forces.mean())} meV/Å on "
        f"average, {shown(MEV_PER_EV * spread.forces.max())} meV/Å at most"
    )
    if known.sum() < MIN_SAMPLES:
        return f"{text}."
    rank = float(spearmanr(spread.forces[known], error[known]).statistic)
    return (
        f"{text}; its rank correlation with the error of the mean force is {rank:.2f}."
    )


def defined(evaluation: Evaluation) -> list[Quantity]:
    """Properties that the structures have, whether they are labeled or not."""
    periodic = bool(evaluation.pbc.all(axis=1).any())
    return [q for q in QUANTITIES if q.key != "stress" or periodic]


def warnings(evaluation: Evaluation, header: Mapping[str, Any]) -> Iterator[str]:
    """Reasons why the numbers may be uncertain or not transferable.

    Args:
        evaluation: Result to judge.
        header: Of the model; its statistics hold the domain of validity.

    Yields:
        One sentence each.
    """
    statistics = header.get("statistics", {})
    limits = statistics.get("minimum_distances", {})
    total = grouped(evaluation.num_structures)
    absent = [q.key for q in defined(evaluation) if q.key not in evaluation.metrics]
    if absent:
        yield (
            f"No structure has a label for {' or '.join(absent)}: their errors are not "
            "computed."
        )
    yield from _constant_offset(evaluation)
    if limits:
        ratio = closeness(evaluation.closest, limits)
        outside = np.flatnonzero(ratio < 1)
        if len(outside):
            worst = int(np.nanargmin(ratio))
            where = f"{evaluation.short_source[worst]}: {shown(ratio[worst])}"
            yield (
                f"In {len(outside)} of {total} structures, two atoms are closer than "
                "any such pair of elements in the training set (smallest ratio of "
                f"distances: {where}): the potential extrapolates."
            )
        if new := unseen_pairs(evaluation.closest, limits):
            yield f"Pairs of elements that are no neighbors in training: {_some(new)}."
    if evaluation.num_structures < MIN_SAMPLES:
        few = "one structure was" if total == "1" else f"{total} structures were"
        yield f"Only {few} evaluated: the errors are statistically uncertain."
    for warning in statistics.get("warnings", ()):
        yield f"Training data: {warning}."


def _constant_offset(evaluation: Evaluation) -> Iterator[str]:
    """An error that all energies share: labels with another zero."""
    error = evaluation.energy_per_atom.error
    error = error[np.isfinite(error)]
    if len(error) < MIN_OFFSET_STRUCTURES or abs(error.mean()) < 5 * error.std():
        return
    offset, rest = (MEV_PER_EV * float(v) for v in (error.mean(), error.std()))
    yield (
        f"All energies have a common error of about {shown(offset)} meV/atom "
        f"(standard deviation {shown(rest)} meV/atom): the zero of energy of these "
        "labels probably differs from that of the training set (another method, or "
        "other isolated-atom energies)."
    )


def _some(names: Sequence[str], most: int = 12) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _sentence(quantity: Quantity, errors: Mapping[str, Any]) -> str:
    unit, scale, explained = (
        quantity.error_unit,
        quantity.error_scale,
        errors["explained"],
    )
    rmse, spread = (shown(scale * errors[key]) for key in ("rmse", "std"))
    start = f"{quantity.singular} RMSE {rmse} {unit}"
    if explained is None:
        return f"{start}; all labels are equal."
    if explained <= 0:
        return (
            f"{start}, more than the standard deviation of the labels, {spread} "
            f"{unit}: the mean label would be a better prediction."
        )
    return (
        f"{start}, R² {r_squared(explained)}; standard deviation of the labels "
        f"{spread} {unit}."
    )
