"""Energies and forces of a pair of atoms at a series of distances."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float64

from equipot.models.energy_model import EnergyModel
from equipot.verify.physics import graph_of_clusters
from equipot.verify.quantities import given

MAX_PAIRS = 36
"""Maximum number of pairs of elements: all of up to eight elements; otherwise each
element with itself and some of the others."""
THIRD_ATOM = (0.4, 0.3, -1.3)
"""Position in Å of the third atom, behind the first one."""

Curve = Float64[np.ndarray, " distances"]
Pair = tuple[int, int]
"""Atomic numbers."""


@dataclass(frozen=True)
class Scan:
    """Pairs of atoms at a series of distances."""

    distances: Curve
    """Distances in Å."""
    energies: Curve
    """Energies in eV."""
    pulls: Curve
    """Force in eV/Å on the second atom, along the line to it."""


def scan(
    model: EnergyModel, pair: Pair, distances: Curve, *, third: bool = False
) -> Scan:
    """Scan two atoms along the z axis.

    Args:
        model: Model in float64.
        pair: Atomic numbers of the two atoms.
        distances: Distances in Å.
        third: Whether to place a third atom, of the first element, behind the first.
    """
    numbers = [*pair, pair[0]] if third else [*pair]
    positions = np.zeros((len(distances), len(numbers), 3))
    positions[:, 1, 2] = distances
    if third:
        positions[:, 2] = THIRD_ATOM
    graph = graph_of_clusters(model, numbers, positions)
    prediction = model(graph, {"energy", "forces"}, create_graph=False)
    forces = given(prediction.forces, "forces").double().cpu().numpy()
    return Scan(
        distances=distances,
        energies=prediction.energy.double().cpu().numpy(),
        pulls=forces.reshape(positions.shape)[:, 1, 2],
    )


def choose_pairs(elements: Sequence[int]) -> list[Pair]:
    """Choose pairs of elements: all of them, or a subset with each element."""
    pairs = list(combinations_with_replacement(elements, 2))
    if len(pairs) <= MAX_PAIRS:
        return pairs
    alike = [pair for pair in pairs if pair[0] == pair[1]]
    others = [pair for pair in pairs if pair[0] != pair[1]]
    room = max(MAX_PAIRS - len(alike), 0)
    some = np.linspace(0, len(others) - 1, room).round().astype(int)
    return sorted([*alike, *(others[n] for n in some)])


def pair_label(pair: Pair) -> str:
    """Symbols of two elements, such as ``C-H``."""
    return "-".join(chemical_symbols[z] for z in pair)
