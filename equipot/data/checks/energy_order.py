r"""Check whether each energy belongs to the structure of the same frame.

Energies are fitted to sums over pairs of atoms by ridge regression: the energies of
each frame, and those of its neighbors in the file. Each structure is predicted from
the others; with the hat matrix H of the fit, the leave-one-out residual is

.. math:: r_i = \frac{y_i - (H y)_i}{1 - H_{ii}}.

Forces are not needed, so the check also detects a shifted column of energies where
a pair potential fits the forces poorly or implies almost constant energies.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding
from equipot.data.checks.pair_model import PairModel

MIN_STRUCTURES = 20
"""Minimum number of structures."""
MIN_EXPLAINED_VARIANCE = 0.3
"""Minimum explained variance of the correctly assigned energies."""
THRESHOLDS = ((0.7, 3.0), (0.4, 2.0))
"""Pairs of thresholds, each sufficient: maximum ratio of the squared residuals with
the energies of the neighbor to those with the energies of the frame itself, and minimum
number of standard deviations by which more than half of the structures prefer them."""
RIDGES = 10.0 ** np.arange(-5, 2)
"""Regularization relative to the largest eigenvalue of the features."""
MIN_RESIDUAL_FRACTION = 0.05
"""Minimum of 1 - H_ii for a residual to be used."""


def check_energy_order(model: PairModel, facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about energies that fit the structure of a neighboring frame better.

    Args:
        model: Pair potential, whose energy features are used.
        facts: All structures in the order of their files.

    Yields:
        An error if there are such energies.
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
        # a mean is fitted for each composition, so it needs more than one structure
        common = Counter(model.facts[n].composition for n in members)
        members = [n for n in members if common[model.facts[n].composition] > 2]
        if len(members) < MIN_STRUCTURES:
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
        if explained[1] > MIN_EXPLAINED_VARIANCE and any(
            ratio < most and deviations > least for most, least in THRESHOLDS
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
    """Leave-one-out residuals and energies.

    Both per atom, minus the means over structures of equal composition.
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
        if left.min() > MIN_RESIDUAL_FRACTION:
            residual = (y - hat @ y) / left
            best = min(best, residual, key=lambda r: float((r**2).sum()))
    return best, y
