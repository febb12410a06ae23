"""What depends on the machine: precision, order of sums, and searches for neighbors."""

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from equipot.agreement import Difference
from equipot.models.build import with_backend
from equipot.models.energy_model import EnergyModel
from equipot.models.potential import Potential
from equipot.neighbors import neighbor_list
from equipot.verify.physics import largest_force, predict, worst
from equipot.verify.result import Check

SINGLE_TOLERANCE = 1e-4
"""Of the largest force, in float32."""
REPETITION_TOLERANCE = 1e-12
"""Of energies and of the largest force, where sums on a GPU may run in any order."""
BRUTE_FORCE_ATOMS = 300
"""Structures up to this size are searched by brute force, larger ones by cells."""


def precision_check(potential: Potential, structures: Sequence[Atoms]) -> Check:
    """Forces in float32 and in float64, of the network alone.

    Args:
        potential: In any arithmetic.
        structures: With atoms.
    """
    network = potential.network_alone()
    single, double = (
        [
            predict(with_backend(network, potential.backend, dtype), a)
            for a in structures
        ]
        for dtype in (torch.float32, torch.float64)
    )
    size = largest_force(double)
    difference = max(
        _largest(a.forces - b.forces) for a, b in zip(single, double, strict=True)
    )
    return Check(
        quantity="forces",
        unit="eV/Å",
        against="float64",
        dtype="float32",
        difference=Difference(difference, size, SINGLE_TOLERANCE),
        reason="of the largest force; rounding of 1e-7, which layers let grow by 1e3",
    )


def repetition_check(model: EnergyModel, structures: Sequence[Atoms]) -> Check:
    """The same call twice, to the bit; on GPUs to rounding."""
    exact = model.device.type == "cpu"
    first, second = ([predict(model, atoms) for atoms in structures] for _ in range(2))
    size = largest_force(first)
    quantities = []
    for a, b in zip(first, second, strict=True):
        energy = max(1.0, abs(float(a.energy)))
        quantities += [
            ("energy", "eV", float((a.energy - b.energy).abs()), energy),
            ("forces", "eV/Å", _largest(a.forces - b.forces), size),
        ]
    return worst(
        quantities,
        against="the same call again",
        tolerance=0.0 if exact else REPETITION_TOLERANCE,
        reason="the same bits" if exact else "of its size; sums in any order",
    )


def neighbor_check(model: EnergyModel, structures: Sequence[Atoms]) -> Check:
    """Pairs that the search finds, and those that another one finds.

    The search is that of vesin wherever it can be; the other one is our own.
    """
    wrong = 0
    found = 0
    for atoms in structures:
        used, ours = _edges(atoms, model.cutoff, "auto")
        small = len(atoms) <= BRUTE_FORCE_ATOMS or used == "cells"
        _, others = _edges(atoms, model.cutoff, "brute_force" if small else "cells")
        wrong += len(ours ^ others)
        found += len(others)
    return Check(
        quantity="pairs",
        unit="",
        against="another search",
        dtype="float64",
        difference=Difference(float(wrong), float(max(found, 1)), 0.0),
        reason="pairs that only one of the two searches finds",
    )


def _edges(
    atoms: Atoms, cutoff: float, backend: str
) -> tuple[str, set[tuple[int, ...]]]:
    """Who searched, and what it found."""
    found = neighbor_list(
        atoms.positions, atoms.cell.array, atoms.pbc, cutoff, backend=backend
    )
    rows = np.column_stack([found.index.T, found.shift])
    return found.backend, set(map(tuple, rows.tolist()))


def _largest(*values: Tensor) -> float:
    return float(torch.cat([v.flatten() for v in values]).abs().max())
