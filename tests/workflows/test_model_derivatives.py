"""Second derivatives of a potential, as workflows ask for them."""

import numpy as np
import pytest
import torch
from ase import Atoms

from equipot.calculators import EquipotCalculator
from equipot.workflows import model_hessian, model_products, relax, vibrations
from equipot.workflows.second_derivatives import (
    difference_step,
    hessian_matrix,
    interaction_range,
)
from tests.potentials import random_potential


@pytest.fixture(scope="module")
def calculator():
    return EquipotCalculator(random_potential(cutoff=3.0, num_layers=2, lmax=1))


def test_products_are_rows_and_rows_are_differences_of_forces(calculator, ethanol):
    ethanol.calc = calculator
    n = len(ethanol)
    matrix = hessian_matrix(model_hessian(calculator), ethanol)
    direction = np.random.default_rng(0).normal(size=(1, n, 3))

    (product,) = model_products(calculator)(ethanol, direction)

    scale = np.abs(matrix).max()
    expected = (matrix @ direction.ravel()).reshape(n, 3)
    np.testing.assert_allclose(product, expected, atol=1e-12 * scale)
    forces = []
    for sign in (1, -1):
        moved = ethanol.copy()
        moved.positions += sign * 1e-4 * direction[0]
        moved.calc = calculator
        forces.append(moved.get_forces())
    difference = (forces[1] - forces[0]) / 2e-4
    np.testing.assert_allclose(product, difference, atol=1e-5 * scale)


def test_rigid_modes_of_a_relaxed_molecule_vanish_before_projection(calculator):
    water = Atoms("OHH", [(0, 0, 0), (0.96, 0, 0), (-0.24, 0.93, 0)])
    water.calc = calculator
    hessian = model_hessian(calculator)
    relaxed = relax(water, hessian, fmax=1e-5)
    relaxed.atoms.calc = calculator

    found = vibrations(relaxed.atoms, hessian)

    assert relaxed.converged
    assert len(found.frequencies) == 3
    assert np.abs(found.rigid_frequencies).max() < 1.0


def test_atoms_beyond_the_interaction_range_do_not_feel_each_other(calculator):
    chain = Atoms("C6", [(2.9 * n, 0, 0) for n in range(6)])
    blocks = model_hessian(calculator)(chain)[0].transpose(1, 0, 2)
    distances = chain.get_distances(0, range(6))

    assert interaction_range(calculator) == pytest.approx(12.0)
    for block, distance in zip(blocks, distances, strict=True):
        assert block.any() == (distance < 12.0)


def test_single_precision_is_differenced_with_longer_steps():
    rough = EquipotCalculator(
        random_potential(cutoff=3.0, num_layers=1, lmax=0).to(torch.float32)
    )

    assert difference_step(rough) == 1e-2
