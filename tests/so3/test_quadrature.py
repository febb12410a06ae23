"""Quadratures integrate all harmonics up to their degree, with no point to spare."""

import math

import pytest
import torch
from torch.testing import assert_close

from equipot.so3 import spherical_harmonics
from equipot.so3.quadrature import (
    LEBEDEV_DEGREES,
    gauss_legendre,
    lebedev,
    sphere_quadrature,
)


def integrals(rule, degree):
    """Integrals of all harmonics up to a degree, divided by the area of the sphere."""
    return rule.weights @ spherical_harmonics(degree, rule.points) / (4 * math.pi)


def error(rule, degree):
    """Largest error among harmonics up to a degree; only the constant has an area."""
    expected = torch.zeros((degree + 1) ** 2, dtype=torch.float64)
    expected[0] = 1
    return (integrals(rule, degree) - expected).abs().max().item()


@pytest.mark.parametrize("degree", range(25))
@pytest.mark.parametrize("rule", [gauss_legendre, sphere_quadrature])
def test_all_harmonics_up_to_the_degree_are_exact(rule, degree):
    assert error(rule(degree), degree) < 1e-13


@pytest.mark.parametrize("degree", [d for d in LEBEDEV_DEGREES if d < 36])
def test_lebedev_rules_have_the_degree_that_they_claim(degree):
    rule = lebedev(degree)

    assert error(rule, degree) < 1e-13
    assert error(rule, degree + 1) > 1e-3


@pytest.mark.parametrize("degree", range(1, 20))
def test_one_azimuth_or_one_ring_fewer_is_not_exact(degree):
    one_azimuth_fewer = gauss_legendre(degree - 1)
    assert error(one_azimuth_fewer, degree) > 1e-3

    if degree >= 2:
        zonal = [n * n + n for n in range(1, degree + 1)]
        one_ring_fewer = gauss_legendre(degree - 2)
        assert integrals(one_ring_fewer, degree)[zonal].abs().max() > 1e-3


@pytest.mark.parametrize(
    ("degree", "num_points"),
    # three functions of degree 0 to 6: orders of the octahedral rules
    [(0, 1), (3, 6), (6, 26), (9, 38), (12, 86), (15, 86), (18, 146)],
)
def test_the_smaller_rule_is_chosen(degree, num_points):
    points, _ = sphere_quadrature(degree)

    assert len(points) == num_points
    assert len(points) <= len(gauss_legendre(degree).points)


@pytest.mark.parametrize("degree", [*range(40), 64, 131])
def test_weights_are_positive_areas_of_unit_vectors(degree):
    points, weights = sphere_quadrature(degree)

    assert (weights > 0).all()
    assert_close(weights.sum().item(), 4 * math.pi, rtol=1e-13, atol=0)
    assert_close(points.norm(dim=1), torch.ones(len(points)).double())


def test_rules_with_negative_weights_exist_and_are_passed_over():
    assert (lebedev(13).weights < 0).any()
    assert len(sphere_quadrature(13).points) == len(lebedev(15).points)


def test_beyond_the_last_lebedev_rule_the_product_rule_serves():
    points, _ = sphere_quadrature(132)

    assert len(points) == 67 * 133


def test_rings_of_the_product_rule_are_around_y_and_start_at_z():
    points, _ = gauss_legendre(4)

    x, y, z = points.unflatten(0, (3, 5)).unbind(-1)
    assert_close(y, y[:, :1].expand(3, 5))
    assert not x[:, 0].any()
    assert (z[:, 0] > 0).all()


def test_impossible_degrees_are_refused():
    with pytest.raises(ValueError, match="degree must not be negative, got -1"):
        sphere_quadrature(-1)
    with pytest.raises(
        ValueError, match=r"no Lebedev rule of degree 4; available degrees are .*5"
    ):
        lebedev(4)
