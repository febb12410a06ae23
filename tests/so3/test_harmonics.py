"""Harmonics, couplings and representations against e3nn and their laws."""

import pytest
import torch
from e3nn import o3
from torch.testing import assert_close

from equipot.so3 import (
    degree_of_component,
    num_components,
    random_rotation,
    representation_matrix,
    spherical_harmonics,
)

LMAX = 6


@pytest.fixture
def directions(generator):
    """Random directions, the axes, and the poles."""
    vectors = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    axes = torch.eye(3, dtype=torch.float64)
    return torch.nn.functional.normalize(torch.cat([vectors, axes, -axes]))


def test_harmonics_equal_those_of_e3nn(directions):
    degrees = list(range(LMAX + 1))
    expected = o3.spherical_harmonics(degrees, directions, False, "component")

    assert_close(spherical_harmonics(LMAX, directions), expected, rtol=0, atol=1e-13)


def test_norm_of_a_degree_is_its_dimension(directions):
    squares = spherical_harmonics(LMAX, directions) ** 2
    degrees = degree_of_component(LMAX)
    norms = torch.zeros(len(directions), LMAX + 1, dtype=torch.float64)
    norms.index_add_(1, degrees, squares)

    expected = (2 * torch.arange(LMAX + 1).double() + 1).expand_as(norms)
    assert_close(norms, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "rotoreflection"])
def test_harmonics_transform_by_the_representation(directions, generator, sign):
    matrix = sign * random_rotation(generator)
    representation = representation_matrix(LMAX, matrix)

    turned = spherical_harmonics(LMAX, directions @ matrix.T)

    expected = spherical_harmonics(LMAX, directions) @ representation.T
    assert_close(turned, expected, rtol=0, atol=1e-12)


def test_representation_is_orthogonal_and_a_homomorphism(generator):
    a, b = random_rotation(generator), -random_rotation(generator)
    da, db = representation_matrix(LMAX, a), representation_matrix(LMAX, b)

    identity = torch.eye(num_components(LMAX), dtype=torch.float64)
    assert_close(da @ da.T, identity, rtol=0, atol=1e-12)
    assert_close(representation_matrix(LMAX, a @ b), da @ db, rtol=0, atol=1e-12)


def test_derivatives_are_finite_at_the_poles():
    poles = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
    poles.requires_grad_()

    assert torch.autograd.gradcheck(lambda v: spherical_harmonics(4, v), poles)
    assert torch.autograd.gradgradcheck(lambda v: spherical_harmonics(4, v), poles)
