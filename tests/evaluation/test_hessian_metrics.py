"""Errors of Hessians where they are known."""

import numpy as np
import pytest
from ase.build import molecule

from equipot.evaluation.hessian_metrics import (
    compare_hessians,
    mean_errors,
    vibrations,
)

FREE = np.zeros(3, dtype=bool)


@pytest.fixture
def water():
    return molecule("H2O")


def random_hessian(size, seed=0):
    matrix = np.random.default_rng(seed).normal(size=(size, size))
    return matrix + matrix.T


@pytest.mark.parametrize(
    ("name", "modes"), [("H2O", 3), ("CO2", 4), ("O2", 1), ("C6H6", 30)]
)
def test_linear_molecules_have_one_rotation_less(name, modes):
    atoms = molecule(name)

    basis = vibrations(atoms.positions, atoms.get_masses(), rotations=True)

    assert basis.shape == (3 * len(atoms), modes)
    assert np.abs(basis.T @ basis - np.eye(modes)).max() < 1e-12


def test_vibrations_move_neither_centre_nor_axes(water):
    basis = vibrations(water.positions, water.get_masses(), rotations=True)

    root = np.sqrt(water.get_masses())[:, None]
    for mode in basis.T:
        momentum = root * mode.reshape(3, 3)
        assert np.abs(momentum.sum(0)).max() < 1e-12
        assert np.abs(np.cross(water.positions, momentum).sum(0)).max() < 1e-12


def test_a_hessian_agrees_with_itself(water):
    hessian = random_hessian(9)

    errors = compare_hessians(hessian, hessian, water.positions, water.numbers, FREE)

    assert (errors.mae, errors.eigenvalue_mae, errors.lowest_mae) == (0, 0, 0)
    assert errors.overlap == pytest.approx(1, abs=1e-12)


def test_a_shift_moves_all_eigenvalues_and_no_mode(water):
    hessian = random_hessian(9)
    mass_weighted = hessian + 2 * np.diag(np.repeat(water.get_masses(), 3))

    shifted = compare_hessians(
        hessian + 2 * np.eye(9), hessian, water.positions, water.numbers, FREE
    )
    weighted = compare_hessians(
        mass_weighted, hessian, water.positions, water.numbers, FREE
    )

    assert shifted.mae == pytest.approx(2 / 9)
    assert shifted.eigenvalue_mae == pytest.approx(2)
    assert shifted.lowest_mae == pytest.approx(2)
    assert weighted.overlap == pytest.approx(1, abs=1e-12)


def test_modes_of_another_kind_do_not_overlap(water):
    """Out of two modes the other one is softer: their cosine is zero."""
    root = np.sqrt(np.repeat(water.get_masses(), 3))
    basis = vibrations(water.positions, water.get_masses(), rotations=True)

    def hessian(values):
        return root[:, None] * (basis * values @ basis.T) * root

    errors = compare_hessians(
        hessian([1.0, 2.0, 3.0]),
        hessian([2.0, 1.0, 3.0]),
        water.positions,
        water.numbers,
        FREE,
    )

    assert errors.overlap < 1e-12


def test_rotations_count_where_something_repeats(water):
    basis = vibrations(water.positions, water.get_masses(), rotations=False)

    assert basis.shape == (9, 6)


def test_means_are_over_structures(water):
    one, other = (
        compare_hessians(
            random_hessian(9, seed),
            random_hessian(9),
            water.positions,
            water.numbers,
            FREE,
        )
        for seed in (0, 1)
    )

    assert mean_errors([one, other]).mae == pytest.approx(other.mae / 2)
    with pytest.raises(ValueError, match="no structure has a reference Hessian"):
        mean_errors([])
