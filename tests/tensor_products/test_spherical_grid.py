"""The grid has as many points as the product needs, and not one to spare."""

import pytest
import torch
from torch.testing import assert_close

from equipot.so3.quadrature import gauss_legendre, lebedev
from equipot.tensor_products import ClebschGordan, TensorProductSpec, spherical_grid
from equipot.tensor_products.spherical_grid import SphericalGrid
from tests.contracts.test_tensor_products import convolve, random_inputs


def relative_error(spec):
    inputs = random_inputs(spec)
    expected = convolve(ClebschGordan(spec), *inputs)
    found = convolve(SphericalGrid(spec), *inputs)
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("symmetry", ["O(3)", "SO(3)"])
@pytest.mark.parametrize(
    ("lmax", "rule", "too_small"),
    [
        (1, lebedev(3), gauss_legendre(2)),
        (2, lebedev(7), lebedev(5)),
        (3, lebedev(9), lebedev(7)),
        (4, lebedev(15), lebedev(11)),
        (5, lebedev(15), lebedev(11)),
        (6, lebedev(19), lebedev(17)),
        (2, gauss_legendre(6), gauss_legendre(5)),
        (3, gauss_legendre(9), gauss_legendre(8)),
    ],
)
def test_the_next_smaller_rule_is_wrong(lmax, rule, too_small, symmetry, monkeypatch):
    spec = TensorProductSpec(lmax, lmax, lmax, "per_degree", symmetry)

    monkeypatch.setattr(spherical_grid, "sphere_quadrature", lambda degree: rule)
    assert relative_error(spec) < 1e-13

    monkeypatch.setattr(spherical_grid, "sphere_quadrature", lambda degree: too_small)
    assert relative_error(spec) > 1e-3


@pytest.mark.parametrize(
    ("lmax", "num_points"),
    [
        ((0, 0, 0), 1),
        ((1, 1, 1), 6),
        ((2, 2, 2), 26),
        ((3, 3, 3), 38),
        ((4, 4, 4), 86),
        ((5, 5, 5), 86),
        ((6, 6, 6), 146),
        ((0, 6, 6), 86),
    ],
)
def test_number_of_points(lmax, num_points):
    spec = TensorProductSpec(*lmax, weighting="per_degree")

    assert SphericalGrid(spec).num_points == num_points


@pytest.mark.parametrize("lmax", [(6, 1, 1), (1, 6, 1), (1, 1, 6)])
def test_degrees_without_a_path_cost_no_points(lmax):
    """Two operands of degree 1 meet no higher degree than 2 of the third."""
    spec = TensorProductSpec(*lmax, weighting="per_degree")

    assert SphericalGrid(spec).num_points == 14
    assert relative_error(spec) < 1e-13


def test_memory_of_evaluation_holds_the_values_of_one_block(monkeypatch):
    """No tensor of edges times points times channels is made."""
    spec = TensorProductSpec(3, 3, 3, "per_degree")
    inputs = random_inputs(spec, edges=400, channels=8)
    backend = SphericalGrid(spec)
    sizes = []

    def record(f, h, multiply=backend._multiply):
        sizes.append(f.numel())
        return multiply(f, h)

    monkeypatch.setattr(backend, "_multiply", record)
    monkeypatch.setattr(
        "equipot.tensor_products.function_product.VALUES_PER_BLOCK", 10_000
    )
    found = convolve(backend, *inputs)

    assert max(sizes) <= 10_000
    assert sum(sizes) == 400 * backend.num_points * 8
    assert_close(found, convolve(ClebschGordan(spec), *inputs), rtol=0, atol=1e-12)
    assert torch.isfinite(found).all()
