"""The result of an evaluation in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from scipy.stats import spearmanr

from equipot.evaluation.results import Evaluation
from equipot.report.domain import closeness, unseen_pairs
from equipot.report.parts.markup import grouped, percent, shown
from equipot.report.quantities import QUANTITIES, Quantity
from equipot.units import MEV_PER_EV

ENOUGH_FOR_OFFSET: Final = 5
"""Structures that must share an error before it is called an offset."""
FEW: Final = 30
"""Fewer structures than this say little of others."""


def verdict(evaluation: Evaluation) -> str:
    """One or two sentences: errors beside the spread of what they are errors of."""
    sentences = [
        _sentence(quantity, evaluation.metrics[quantity.key]["overall"])
        for quantity in QUANTITIES
        if quantity.key in evaluation.metrics
    ]
    if not sentences:
        return "The data have no labels: nothing can be said about errors."
    by_forces_first = sorted(sentences, key=lambda s: not s.startswith("Forces"))
    return " ".join(by_forces_first[:2])


def committee_sentence(evaluation: Evaluation) -> str | None:
    """How far the members of a committee are apart, and whether that tells of errors.

    Args:
        evaluation: Result to judge; None is returned unless it is of a committee.
    """
    spread = evaluation.spread
    if spread is None or not len(spread.forces):
        return None
    error = np.linalg.norm(evaluation.forces.error, axis=1)
    known = np.isfinite(error)
    text = (
        f"Committee of {spread.members}: on average over atoms, the forces of its "
        f"members differ by {shown(MEV_PER_EV * spread.forces.mean())} meV/Å, at most "
        f"by {shown(MEV_PER_EV * spread.forces.max())} (standard deviation)"
    )
    if known.sum() < FEW:
        return f"{text}."
    rank = float(spearmanr(spread.forces[known], error[known]).statistic)
    return (
        f"{text}; the rank correlation of this spread with the error of the mean force "
        f"is {rank:.2f}."
    )


def absent_labels(evaluation: Evaluation) -> list[str]:
    """Properties whose errors cannot be given, because nothing has such a label.

    Stress is not missed where no structure has a volume.
    """
    return [q.key for q in defined(evaluation) if q.key not in evaluation.metrics]


def defined(evaluation: Evaluation) -> list[Quantity]:
    """Properties that the structures have, whether they are labeled or not."""
    periodic = bool(evaluation.pbc.all(axis=1).any())
    return [q for q in QUANTITIES if q.key != "stress" or periodic]


def warnings(evaluation: Evaluation, header: Mapping[str, Any]) -> Iterator[str]:
    """What a reader has to know before relying on the numbers.

    Args:
        evaluation: Result to judge.
        header: Of the model; its statistics hold the domain of validity.

    Yields:
        One sentence each.
    """
    statistics = header.get("statistics", {})
    limits = statistics.get("minimum_distances", {})
    total = grouped(evaluation.num_structures)
    if absent := absent_labels(evaluation):
        yield (
            f"No structure has a label for {' or '.join(absent)}: "
            "these errors cannot be given."
        )
    yield from _constant_offset(evaluation)
    if limits:
        ratio = closeness(evaluation.closest, limits)
        outside = np.flatnonzero(ratio < 1)
        if len(outside):
            worst = int(np.nanargmin(ratio))
            where = f"{evaluation.short_source[worst]}: {shown(ratio[worst])}"
            yield (
                f"In {len(outside)} of {total} structures atoms are closer together "
                f"than anywhere in training ({where} of the shortest distance there): "
                "the potential extrapolates."
            )
        if pairs := unseen_pairs(evaluation.closest, limits):
            yield f"Pairs that training never had within reach: {_some(pairs)}."
    if evaluation.num_structures < FEW:
        few = (
            "one structure was"
            if evaluation.num_structures == 1
            else f"{total} structures were"
        )
        yield f"Only {few} evaluated: the errors themselves are uncertain."
    for warning in statistics.get("warnings", ()):
        yield f"Of the training data: {warning}."


def _constant_offset(evaluation: Evaluation) -> Iterator[str]:
    """An error that all energies share: labels with another zero."""
    error = evaluation.energy_per_atom.error
    error = error[np.isfinite(error)]
    if len(error) < ENOUGH_FOR_OFFSET or abs(error.mean()) < 5 * error.std():
        return
    offset, rest = (MEV_PER_EV * float(v) for v in (error.mean(), error.std()))
    yield (
        f"All energies are off by about {shown(offset)} meV/atom (the rest is "
        f"{shown(rest)} meV/atom RMSE): the labels seem to have another zero than "
        "those of training, by another method or other free atoms."
    )


def _some(names: Sequence[str], most: int = 12) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _sentence(quantity: Quantity, errors: Mapping[str, Any]) -> str:
    rmse = shown(quantity.error_scale * errors["rmse"])
    spread = shown(quantity.error_scale * errors["std"])
    unit = quantity.error_unit
    start = f"{_subject(quantity)} off by {rmse} {unit} (RMSE)"
    explained = errors["explained"]
    if explained is None:
        return f"{start}; the labels do not vary."
    if explained <= 0:
        return (
            f"{start}, more than the {spread} {unit} that labels spread by: predicting "
            "their mean would be better."
        )
    return (
        f"{start} where labels spread by {spread} {unit}: "
        f"{percent(explained)} of their variance is explained."
    )


def _subject(quantity: Quantity) -> str:
    return {"energy": "Energies are", "forces": "Forces are", "stress": "Stress is"}[
        quantity.key
    ]
