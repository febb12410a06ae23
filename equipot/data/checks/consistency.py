"""Consistency of energies, forces and structures."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from equipot.data.checks.energy_order import check_energy_order
from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding
from equipot.data.checks.pair_model import PairModel

MIN_STRUCTURES = 12
"""Minimum number of structures."""
MIN_EXPLAINED_GAIN = 0.3
"""Minimum increase of the explained variance for an alternative to be reported."""
MAX_WRONG_SIGN_CORRELATION = -0.3
"""Correlation of energies below which the sign of the forces is wrong."""
MAX_ENERGY_FORCE_RATIO = 8.0
"""Ratio of energies to forces beyond the error of a fitted pair potential."""


def check_consistency(
    model: PairModel, facts: Sequence[Facts], *, by_pairs: bool = True
) -> Iterator[Finding]:
    """Findings about inconsistent labels.

    Args:
        model: Pair potential fitted to the forces.
        facts: All structures in the order of their files.
        by_pairs: Also check sign and scale of the forces against the pair potential,
            for data sets without near frames.

    Yields:
        Permuted columns or rows of forces, labels shifted by one frame, wrong sign of
        the forces, different units of energies and forces.
    """
    best = max(model.alternatives, key=lambda name: model.alternatives[name])
    if model.alternatives[best] > model.explained + MIN_EXPLAINED_GAIN:
        yield Finding(
            "error",
            "forces",
            f"{best}: a pair potential then explains {model.alternatives[best]:.0%} of "
            f"the forces instead of {model.explained:.0%}",
        )
        return
    doubts = list(_check_energies(model, facts, by_pairs=by_pairs))
    yield from doubts or check_energy_order(model, facts)


def _check_energies(
    model: PairModel, facts: Sequence[Facts], *, by_pairs: bool
) -> Iterator[Finding]:
    common = Counter(f.composition for f in model.facts)
    members = [
        n
        for n, f in enumerate(model.facts)
        if np.isfinite(f.energy) and common[f.composition] > 2
    ]
    if len(members) < MIN_STRUCTURES or model.explained < 0.5:
        return
    chosen = [model.facts[n] for n in members]
    predicted = model.energy[members]
    energy = np.array([f.energy for f in chosen])
    correlation = _correlation(chosen, energy, predicted)
    position = {f.source: n for n, f in enumerate(facts)}
    for step, name in ((1, "next"), (-1, "previous")):
        moved = [facts[(position[f.source] + step) % len(facts)] for f in chosen]
        same = [
            n
            for n, (f, m) in enumerate(zip(chosen, moved, strict=True))
            if f.file == m.file
            and f.composition == m.composition
            and np.isfinite(m.energy)
        ]
        if len(same) < MIN_STRUCTURES:
            continue
        shifted = _correlation(
            [chosen[n] for n in same],
            np.array([moved[n].energy for n in same]),
            predicted[same],
        )
        if (
            shifted > correlation + MIN_EXPLAINED_GAIN
            and shifted > 3 / len(same) ** 0.5
        ):
            yield Finding(
                "error",
                "energies",
                f"the energies that the {name} frame lists fit the forces (correlation "
                f"{shifted:.2f}), those of the frame itself do not "
                f"({correlation:.2f}): is the column shifted?",
            )
            return
    if not by_pairs:
        return
    if correlation < min(MAX_WRONG_SIGN_CORRELATION, -5 / len(members) ** 0.5):
        yield Finding(
            "error",
            "forces",
            "the forces have the wrong sign (correlation of energies with those "
            f"implied by the forces: {correlation:.2f}); they seem to be gradients: "
            "change their sign",
        )
    elif correlation > max(-MAX_WRONG_SIGN_CORRELATION, 5 / len(members) ** 0.5):
        yield from _check_scale(chosen, energy, predicted, correlation)


def _check_scale(
    facts: Sequence[Facts], energy: ndarray, predicted: ndarray, correlation: float
) -> Iterator[Finding]:
    ratio = _spread(facts, energy) / _spread(facts, predicted)
    if 1 / MAX_ENERGY_FORCE_RATIO < ratio < MAX_ENERGY_FORCE_RATIO:
        return
    size = float(np.mean([f.num_atoms for f in facts]))
    per_atom = 1 / MAX_ENERGY_FORCE_RATIO < ratio * size < MAX_ENERGY_FORCE_RATIO
    remedy = (
        "are the energies per atom? They must be those of the whole structure"
        if per_atom
        else "convert energies to eV and forces to eV/Å"
    )
    yield Finding(
        "error",
        "units",
        f"energies vary {ratio:.3g} times as much as the forces imply (correlation "
        f"{correlation:.2f}): {remedy}",
    )


def _residual(
    facts: Sequence[Facts], energy: Float[ndarray, " structures"]
) -> Float[ndarray, " structures"]:
    """Energy per atom in eV minus its mean over structures of equal composition."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for n, f in enumerate(facts):
        groups.setdefault(f.composition, []).append(n)
    per_atom = energy / np.array([f.num_atoms for f in facts])
    for members in groups.values():
        per_atom[members] -= per_atom[members].mean()
    return per_atom


def _spread(facts: Sequence[Facts], energy: ndarray) -> float:
    return float(np.sqrt((_residual(facts, energy) ** 2).mean())) + 1e-300


def _correlation(facts: Sequence[Facts], a: ndarray, b: ndarray) -> float:
    """Correlation of two sets of energies; 0 if one of them is constant."""
    x, y = _residual(facts, a), _residual(facts, b)
    x, y = x.clip(*_range(x)), y.clip(*_range(y))
    norm = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / norm) if norm > 1e-12 else 0.0


def _range(values: ndarray) -> tuple[float, float]:
    """Bounds of the values that are robust against a few outliers."""
    bound = 5 * float(np.median(np.abs(values))) + 1e-12
    return -bound, bound
