"""Generators are the derivatives of rotations."""

import pytest
import torch
from torch.testing import assert_close

from equipot.so3 import (
    representation_matrix,
    rotation_generators,
    spherical_harmonics,
)

LMAX = 6


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_exponential_of_a_generator_is_a_rotation(axis):
    """By the angle 0.7 about x, y or z."""
    vector = torch.zeros(3, dtype=torch.float64)
    vector[axis] = 0.7
    identity = torch.eye(3, dtype=torch.float64)
    rotation = torch.matrix_exp(torch.linalg.cross(vector.expand(3, 3), identity).T)

    found = torch.matrix_exp(0.7 * rotation_generators(LMAX)[axis])

    assert_close(found, representation_matrix(LMAX, rotation), rtol=0, atol=1e-13)


def test_commutators_are_those_of_rotations():
    x, y, z = rotation_generators(LMAX)

    assert_close(x @ y - y @ x, z, rtol=0, atol=1e-13)
    assert_close(y @ z - z @ y, x, rtol=0, atol=1e-13)


def test_squares_add_up_to_l_times_l_plus_1():
    total = sum(j @ j for j in rotation_generators(LMAX))

    expected = torch.tensor(
        [-n * (n + 1.0) for n in range(7) for _ in range(2 * n + 1)]
    )
    assert_close(total, expected.double().diag(), rtol=0, atol=1e-12)


def test_they_turn_functions_about_an_axis(generator):
    """The derivative of a harmonic along a x n is that of the generator about a."""
    n = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    n = torch.nn.functional.normalize(n)
    for axis, turned in zip(
        torch.eye(3, dtype=torch.float64), rotation_generators(LMAX), strict=True
    ):
        _, derivative = torch.func.jvp(
            lambda n: spherical_harmonics(LMAX, n),
            (n,),
            (torch.linalg.cross(axis.expand_as(n), n),),
        )

        expected = spherical_harmonics(LMAX, n) @ turned.T
        assert_close(derivative, expected, rtol=0, atol=1e-12)
