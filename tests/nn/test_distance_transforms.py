"""Transforms of distances, further radial functions, and densities, by hand."""

import math

import pytest
import torch
from torch.testing import assert_close

from equipot.nn import (
    AgnesiTransform,
    ChebyshevBasis,
    Density,
    GaussianBasis,
    SoftTransform,
)

ELEMENTS = torch.tensor([[0, 1], [1, 1]])  # O-H and H-H
LENGTHS = torch.tensor([[0.9], [1.4]], dtype=torch.float64)
SUMS = (0.66 + 0.31, 0.62)
"""Of covalent radii in Å."""


def test_agnesi_transform_by_hand():
    found = AgnesiTransform([8, 1])(LENGTHS, ELEMENTS)

    for value, length, radii in zip(found, (0.9, 1.4), SUMS, strict=True):
        x = length / (0.5 * radii)
        expected = 1 / (1 + 1.0805 * x**0.9183 / (1 + x ** (0.9183 - 4.5791)))
        assert value.item() == pytest.approx(expected, rel=1e-14)


def test_agnesi_transform_is_one_at_zero():
    transform = AgnesiTransform([8, 1])

    assert transform(torch.zeros(2, 1).double(), ELEMENTS).tolist() == [[1.0], [1.0]]


def test_soft_transform_by_hand():
    found = SoftTransform([8, 1])(LENGTHS, ELEMENTS)

    for value, length, radii in zip(found, (0.9, 1.4), SUMS, strict=True):
        low, high = 0.75 * radii, 4 / 3 * radii
        at = 4 * (length - (low + high) / 2) / (high - low)
        expected = low + (length - low) * (1 + math.tanh(at)) / 2
        assert value.item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("kind", [AgnesiTransform, SoftTransform])
def test_transforms_are_symmetric_in_both_elements(kind):
    transform = kind([8, 1])

    assert_close(
        transform(LENGTHS, ELEMENTS),
        transform(LENGTHS, ELEMENTS.flip(0)),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize("kind", [AgnesiTransform, SoftTransform])
def test_transforms_can_be_differentiated_in_forward_mode_twice(kind):
    transform = kind([8, 1])
    ones = torch.ones_like(LENGTHS)

    def slope(r):
        return torch.func.jvp(lambda s: transform(s, ELEMENTS), (r,), (ones,))[1]

    curvature = torch.func.jvp(slope, (LENGTHS,), (ones,))[1]

    step = 1e-4
    expected = (slope(LENGTHS + step) - slope(LENGTHS - step)) / (2 * step)
    assert_close(curvature, expected, rtol=1e-6, atol=1e-6)


def test_gaussians_are_one_at_their_centers_and_as_wide_as_their_spacing():
    found = GaussianBasis(6.0, 4)(torch.tensor([[2.0]], dtype=torch.float64))

    expected = [math.exp(-0.5), 1.0, math.exp(-0.5), math.exp(-2.0)]
    assert found[0].tolist() == pytest.approx(expected, rel=1e-15)


def test_a_single_gaussian_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        GaussianBasis(6.0, 1)


def test_chebyshev_polynomials_are_cosines_of_multiples_of_an_angle():
    angle = torch.tensor([[0.7], [2.1]], dtype=torch.float64)

    found = ChebyshevBasis(5)(torch.cos(angle))

    assert_close(found, torch.cos(angle * torch.arange(1, 6)), rtol=0, atol=1e-14)


@pytest.mark.parametrize("envelope_on", ["input", "output"])
def test_density_by_hand(envelope_on):
    density = Density(2, envelope_on).double()
    basis = torch.tensor([[0.5, -1.0]], dtype=torch.float64)
    envelope = torch.tensor([[0.3]], dtype=torch.float64)
    w = density.linear.weight[0].tolist()
    value = 0.5 * w[0] - w[1]

    found = density(basis, envelope).item()

    inside = math.tanh((0.3 * value) ** 2)
    expected = inside if envelope_on == "input" else 0.3 * math.tanh(value**2)
    assert found == pytest.approx(expected, rel=1e-14)
