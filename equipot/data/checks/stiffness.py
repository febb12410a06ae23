r"""Stiffness of bonds, from changes of forces with bond lengths.

The tension :math:`(F_i - F_j) \cdot u / 2` of a bond, with the unit vector u from atom
i to atom j, increases with its length by its stiffness. Stiffness times the squared
length is 5 to 150 eV for chemical bonds, independent of the level of theory.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii
from jaxtyping import Float
from numpy import ndarray

from equipot.data.checks.facts import Facts
from equipot.data.checks.near_frames import Step
from equipot.data.chemistry import NOBLE_GASES, expected_stiffness
from equipot.data.pairs import pair_name
from equipot.graph.atomic_graph import edge_vectors
from equipot.neighbors import build_graph

MAX_BOND_RATIO = 1.35
"""Distance over the sum of covalent radii up to which two atoms count as bonded."""
MAX_NEIGHBOR_RATIO = 1.15
"""Distance over that of the nearest neighbor up to which a neighbor is bonded."""
CUTOFF = 5.0
"""Cutoff radius in Å for bonds."""
MAX_STEPS = 150
"""Maximum number of steps between frames."""
MAX_DISPLACEMENT = 0.6
"""Maximum root mean square displacement in Å of a step."""
MAX_RELATIVE_CHANGE = 0.25
"""Maximum relative change of the length of a bond."""
MIN_BONDS = 12
"""Minimum number of changes of bond length."""
MIN_CORRELATION = 0.5
"""Minimum correlation of tension and length."""


@dataclass(frozen=True)
class Stiffness:
    """Stiffness of the bonds between two elements."""

    pair: str
    """Elements, such as ``"H-O"``."""
    length: float
    """Mean length in Å."""
    value: float
    """Stiffness in eV/Å^2."""
    ratio: float
    """Measured over expected stiffness; the expectation has an error factor of 2.5."""
    change: float
    """Root mean square change of length in Å."""
    number: int
    """Number of changes of length."""


def measure_stiffness(facts: Sequence[Facts], steps: Sequence[Step]) -> list[Stiffness]:
    """Measure the stiffness of bonds for each pair of elements.

    Args:
        facts: Frames with forces.
        steps: Steps between near frames.

    Returns:
        Results for pairs of elements with enough data; empty without near frames.
    """
    usable = sorted(
        (s for s in steps if s.size < MAX_DISPLACEMENT), key=lambda s: s.start
    )
    usable = usable[:: max(1, len(usable) // MAX_STEPS)]
    rows: dict[tuple[int, int], list[ndarray]] = defaultdict(list)
    for step in usable:
        _measure(facts[step.start], facts[step.end], step, rows)
    found = []
    for (z1, z2), parts in sorted(rows.items()):
        length, change, pull = np.concatenate(parts, axis=1)
        if len(length) < MIN_BONDS:
            continue
        xy, xx, yy = (float((p * q).sum()) for p, q in _products(change, pull))
        if xx < 1e-12 or abs(xy) < MIN_CORRELATION * np.sqrt(xx * yy):
            continue
        mean = float(length.mean())
        ratio = xy / xx * mean**2 / expected_stiffness(z1, z2)
        pair = pair_name(z1, z2)
        rms = float(np.sqrt(xx / len(length)))
        found.append(Stiffness(pair, mean, xy / xx, ratio, rms, len(length)))
    return found


def _products(x: ndarray, y: ndarray) -> list[tuple[ndarray, ndarray]]:
    return [(x, y), (x, x), (y, y)]


def _measure(
    a: Facts, b: Facts, step: Step, rows: dict[tuple[int, int], list[ndarray]]
) -> None:
    """Append length, change of length and change of tension of each bond of a step."""
    i, j, vectors = _bonds(a)
    if not len(i):
        return
    moved = vectors @ (np.eye(3) + step.strain)
    moved = moved + step.displacement[j] - step.displacement[i]
    before, after = (np.linalg.norm(v, axis=1) for v in (vectors, moved))
    change = after - before
    pull = _pull(a.forces, i, j, vectors / before[:, None])
    pull_after = _pull(b.forces @ step.rotation, i, j, moved / after[:, None])
    whole = np.abs(change) < MAX_RELATIVE_CHANGE * before
    table = np.stack([before, change, pull_after - pull])
    ends = np.sort(a.numbers[[i, j]], axis=0)
    for z1, z2 in {tuple(pair) for pair in ends.T.tolist()}:
        chosen = whole & (ends[0] == z1) & (ends[1] == z2)
        rows[z1, z2].append(table[:, chosen])


def _pull(forces: ndarray, i: ndarray, j: ndarray, unit: ndarray) -> ndarray:
    return np.asarray(((forces[i] - forces[j]) * unit).sum(axis=1) / 2)


def _bonds(f: Facts) -> tuple[ndarray, ndarray, Float[ndarray, "bonds 3"]]:
    """Atoms of the bonds to nearest neighbors, and vectors from first to second."""
    graph = build_graph(f.structure.atoms, CUTOFF)
    j, i = graph.edge_index.numpy()
    vectors = edge_vectors(graph).numpy()
    length = np.linalg.norm(vectors, axis=1)
    nearest = np.full(f.num_atoms, np.inf)
    np.minimum.at(nearest, i, length)
    radii = covalent_radii[f.numbers[[i, j]]].sum(axis=0)
    noble = np.isin(f.numbers[[i, j]], list(NOBLE_GASES)).any(axis=0)
    near = length < MAX_NEIGHBOR_RATIO * np.maximum(nearest[i], nearest[j])
    bonded = near & (length < MAX_BOND_RATIO * radii) & (i < j) & ~noble
    return i[bonded], j[bonded], vectors[bonded]
