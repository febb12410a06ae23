"""A structure in a box with vacuum, with and without periodic directions."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from ase import Atoms
from jaxtyping import Bool, Float64

from equipot.models.energy_model import EnergyModel
from equipot.verify.generated import VACUUM, on_grid
from equipot.verify.invariance import differences_of
from equipot.verify.physics import predict, size_of_forces, worst
from equipot.verify.result import Check

TOLERANCE = 1e-11
CYCLE = (1, 2, 0)
"""Axes of a structure in another order, by a turn and not by a mirror."""


def vacuum_check(
    model: EnergyModel, structures: Sequence[Atoms], *, typical: float = 0.0
) -> Check:
    """Free directions replaced by periodic ones that lead through vacuum.

    Args:
        model: In float64.
        structures: Clusters, wires and slabs; others have no free direction.
        typical: Force in eV/Å of atoms that are not on sites of a lattice.
    """
    quantities = []
    for atoms in map(on_grid, structures):
        if atoms.pbc.all():
            continue
        before = predict(model, atoms)
        size = size_of_forces(before, atoms, typical)
        for box in _boxes(atoms, model.cutoff):
            quantities += differences_of(predict(model, box), before, size, box)
    return worst(
        quantities,
        name="periodic box with vacuum",
        tolerance=TOLERANCE,
        reason=(
            "relative to the largest or the typical force; rounding errors of larger "
            "cells and of sums in another order"
        ),
    )


def _boxes(atoms: Atoms, cutoff: float) -> Iterator[Atoms]:
    """The same atoms with all choices of periodic directions that cross vacuum."""
    cell = _complete(atoms.cell.array, atoms.pbc)
    free = np.flatnonzero(~atoms.pbc)
    for axis in free:
        extent = float(np.ptp(atoms.positions @ cell[axis]))
        cell[axis] *= np.ceil(extent + cutoff + VACUUM)
    for chosen in product((False, True), repeat=len(free)):
        box = atoms.copy()
        box.set_cell(cell)
        box.pbc[free] = chosen
        yield on_grid(box)
        turned = box.copy()
        turned.set_cell(cell[list(CYCLE)])
        turned.pbc = box.pbc[list(CYCLE)]
        yield on_grid(turned)


def _complete(
    cell: Float64[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]
) -> Float64[np.ndarray, "3 3"]:
    """The cell with unit vectors, perpendicular to all others, in free directions."""
    rows = cell[pbc]
    # the last rows of V^T span what is perpendicular to all periodic directions
    perpendicular = np.linalg.svd(rows if len(rows) else np.zeros((1, 3)))[2]
    out = cell.copy()
    out[~pbc] = perpendicular[len(rows) :]
    return out
