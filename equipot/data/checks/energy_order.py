r"""Whether energies belong to the structures that they are listed with.

Energies are fitted to sums over pairs of atoms by ridge regression, those of each frame
and those of its neighbors in the file. Every structure is predicted from the others:
with the hat matrix H of the fit the residual of a left-out one is

.. math:: r_i = \frac{y_i - (H y)_i}{1 - H_{ii}}.

Forces are not needed for this: it sees a shifted column of energies also where pairs
explain the forces badly, or where the energies that they imply vary little.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding
from equipot.data.checks.pair_model import PairModel

MIN_FRAMES = 20
"""Structures that a verdict needs."""
EXPLAINED = 0.3
"""Share of the variance that the right energies must be predicted by."""
VERDICTS = ((0.7, 3.0), (0.4, 2.0))
"""Either is enough: squared residuals with the energies of a neighbor over those with
the own ones, and standard deviations by which more structures than half prefer them."""
RIDGES = 10.0 ** np.arange(-5, 2)
"""Over the largest eigenvalue of the features."""
FREE = 0.05
"""Least share of a residual that must be left to be trusted, 1 - H_ii."""


def check_energy_order(model: PairModel, facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about energies that fit the structure of a neighboring frame better.

    Args:
        model: Holds what energies of pairs are linear in.
        facts: All structures in the order of their files.

    Yields:
        An error if they do.
    """
    position = {f.source: n for n, f in enumerate(facts)}
    for step, name in ((1, "next"), (-1, "previous")):
        others = [facts[(position[f.source] + step) % len(facts)] for f in model.facts]
        members = [
            n
            for n, (f, other) in enumerate(zip(model.facts, others, strict=True))
            if f.file == other.file
            and f.composition == other.composition
            and np.isfinite([f.energy, other.energy]).all()
        ]
        # a mean is fitted for each composition: it needs more than one
        common = Counter(model.facts[n].composition for n in members)
        members = [n for n in members if common[model.facts[n].composition] > 2]
        if len(members) < MIN_FRAMES:
            continue
        chosen = [model.facts[n] for n in members]
        own, moved = (
            _left_out(chosen, model.features[members], np.array(energies))
            for energies in (
                [f.energy for f in chosen],
                [others[n].energy for n in members],
            )
        )
        explained = [1 - float((r**2).sum() / (y**2).sum()) for r, y in (own, moved)]
        ratio = float((moved[0] ** 2).sum() / ((own[0] ** 2).sum() + 1e-300))
        wins = float((np.abs(moved[0]) < np.abs(own[0])).mean() - 0.5)
        deviations = 2 * wins * len(members) ** 0.5
        if explained[1] > EXPLAINED and any(
            ratio < most and deviations > least for most, least in VERDICTS
        ):
            yield Finding(
                "error",
                "energies",
                f"the energies that the {name} frame lists fit the structures (a fit "
                f"to pairs predicts {explained[1]:.0%} of their variance), those of "
                f"the frame itself do not ({max(explained[0], 0.0):.0%}): is the "
                "column shifted?",
            )
            return


def _left_out(
    facts: Sequence[Facts],
    features: Float[ndarray, "structures columns"],
    energy: Float[ndarray, " structures"],
) -> tuple[Float[ndarray, " structures"], Float[ndarray, " structures"]]:
    """Residuals of structures that are predicted from the others, and energies.

    Both per atom, less the means over structures of the same composition.
    """
    size = np.array([f.num_atoms for f in facts])
    groups: dict[tuple[int, ...], list[int]] = {}
    for n, f in enumerate(facts):
        groups.setdefault(f.composition, []).append(n)
    x, y = features / size[:, None], energy / size
    share = np.zeros(len(facts))
    for members in groups.values():
        x[members] -= x[members].mean(axis=0)
        y[members] -= y[members].mean()
        share[members] = 1 / len(members)
    x /= x.std(axis=0) + 1e-9
    values, vectors = np.linalg.eigh(x @ x.T)
    values = values.clip(min=0)
    best = y / (1 - share)
    for ridge in RIDGES * (values.max() + 1e-300):
        hat = (vectors * (values / (values + ridge))) @ vectors.T
        left = 1 - np.diag(hat) - share
        if left.min() > FREE:
            residual = (y - hat @ y) / left
            best = min(best, residual, key=lambda r: float((r**2).sum()))
    return best, y
