"""The filter of atoms and cell has the forces and displacements of that of ASE."""

import numpy as np
import pytest
from ase.build import bulk
from ase.filters import FrechetCellFilter
from scipy.linalg import expm

from equipot.workflows.cell_filter import CellFilter, logarithm
from tests.workflows.analytic_potentials import stillinger_weber_silicon


@pytest.mark.parametrize("mask", [None, [1, 1, 0, 0, 0, 1]])
@pytest.mark.parametrize("strain", [0.0, 0.05])
def test_forces_and_displacements_are_those_of_ase(mask, strain):
    rng = np.random.default_rng(1)
    silicon = bulk("Si", "diamond", a=5.5)
    silicon.rattle(0.1, seed=2)
    calculator = stillinger_weber_silicon()
    step = rng.normal(0, 0.02, (len(silicon) + 3, 3))
    step[-3:] *= len(silicon)
    found = []
    for kind in (CellFilter, FrechetCellFilter):
        atoms = silicon.copy()
        atoms.calc = calculator
        target = kind(atoms, mask=mask, scalar_pressure=0.02)
        if strain:
            target.set_positions(target.get_positions() + strain / 0.02 * step)
        start = target.get_positions()
        forces = target.get_forces()
        target.set_positions(start + step)
        moved = target.get_positions() - start
        found.append((forces, moved, atoms.positions, atoms.cell.array, target.stress))

    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [0.0, 1e-3, 0.3, 2.0])
def test_logarithm_is_the_inverse_of_the_exponential(size):
    matrix = size * np.random.default_rng(2).normal(0, 0.4, (3, 3))

    np.testing.assert_allclose(logarithm(expm(matrix)), matrix, rtol=0, atol=1e-12)
