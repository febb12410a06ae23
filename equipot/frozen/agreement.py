"""Comparison of a program with the potential that it was made of."""

from collections.abc import Sequence

import ase
import numpy as np
import torch

from equipot.frozen.splines import SHORTEST
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.prediction import Prediction
from equipot.neighbors import build_graph

TOLERANCES = {torch.float32: 1e-3, torch.float64: 1e-6}
"""Difference of forces and energies allowed, relative to the largest one: far above the
error of the tables and of rounding, far below that of a wrong formula."""
FEWEST_ATOMS = 8
SPACING = 1.9
"""Distance of neighbors on a lattice, in Å, before they are displaced."""
DISPLACEMENT = 0.25


class FrozenMismatchError(RuntimeError):
    """A program and its potential predict different energies or forces."""


def irregular_cluster(atomic_numbers: Sequence[int], cutoff: float) -> AtomicGraph:
    """Cluster of atoms of all given elements at irregular places.

    Args:
        atomic_numbers: Elements.
        cutoff: Of the edges in Å; the cluster is scaled so that it has some.
    """
    count = max(FEWEST_ATOMS, 2 * len(atomic_numbers))
    side = int(np.ceil(count ** (1 / 3)))
    places = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1)
    rng = np.random.default_rng(0)
    spacing = max(min(SPACING, 0.8 * cutoff), 2 * SHORTEST)
    positions = places.reshape(-1, 3)[:count] * 1.0
    positions += rng.uniform(-DISPLACEMENT, DISPLACEMENT, positions.shape)
    numbers = np.resize(np.array(atomic_numbers), count)
    return build_graph(ase.Atoms(numbers, spacing * positions), cutoff)


def check_agreement(
    found: Prediction, expected: Prediction, dtype: torch.dtype
) -> None:
    """Compare energies relative to their mean, and forces.

    Args:
        found: Prediction of a program.
        expected: Prediction of its potential in float64.
        dtype: Precision of the program.

    Raises:
        FrozenMismatchError: If they differ by more than `TOLERANCES`.
    """
    if found.forces is None or expected.forces is None:
        raise ValueError("a comparison needs forces")
    scale = float(expected.forces.abs().max())
    spread = float(expected.energies.std())
    pairs = {
        "energies": (found.energies, expected.energies, max(spread, scale)),
        "forces": (found.forces, expected.forces, scale),
    }
    for name, (a, b, largest) in pairs.items():
        difference = float((a.double() - b.double()).abs().max())
        allowed = TOLERANCES[dtype] * max(largest, torch.finfo(dtype).eps)
        if not difference <= allowed:
            raise FrozenMismatchError(
                f"the compiled program and the potential differ by {difference:.2e} in "
                f"{name} of a test cluster, more than {allowed:.2e}: please report "
                "this with the model, and use frozen=False meanwhile"
            )
