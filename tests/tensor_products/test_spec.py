"""What a specification promises about couplings, checked by integration."""

import math
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from equipot.so3 import (
    degree_slice,
    rotation_generators,
    spherical_harmonics,
    wigner_3j,
)
from equipot.so3.quadrature import sphere_quadrature
from equipot.tensor_products.spec import (
    Path,
    TensorProductSpec,
    bracket_factor,
    gaunt_factor,
)

LMAX = 6
TRIANGLES = [
    Path(*path)
    for path in product(range(LMAX + 1), repeat=3)
    if abs(path[0] - path[1]) <= path[2] <= path[0] + path[1]
]
PER_DEGREE = [
    TensorProductSpec(*lmax, "per_degree", symmetry)
    for lmax in [(0, 0, 0), (1, 1, 1), (2, 3, 4), (4, 1, 6), (6, 6, 6)]
    for symmetry in ("O(3)", "SO(3)")
]


@pytest.fixture(scope="module")
def on_sphere():
    """Points, areas, harmonics of unit norm and their rotated gradients n x grad Y."""
    points, areas = sphere_quadrature(3 * LMAX)
    harmonics = spherical_harmonics(LMAX, points) / math.sqrt(4 * math.pi)
    turned = torch.einsum("ajk,gk->gja", rotation_generators(LMAX), harmonics)
    return points, areas, harmonics, turned


def test_gaunt_factor_is_the_integral_of_three_harmonics(on_sphere):
    _, areas, y, _ = on_sphere
    for path in TRIANGLES:
        y1, y2, y3 = (y[:, degree_slice(degree)] for degree in path)

        integral = torch.einsum("g,gi,gj,gk->ijk", areas, y1, y2, y3)

        expected = gaunt_factor(path) * wigner_3j(*path)
        assert_close(integral, expected, rtol=0, atol=1e-13)


def test_bracket_factor_is_the_integral_of_a_bracket(on_sphere):
    """For every path; n . (grad f x grad g) = n . (n x grad f) x (n x grad g)."""
    points, areas, y, turned = on_sphere
    for path in TRIANGLES:
        l1, l2, l3 = (degree_slice(degree) for degree in path)
        norm = math.sqrt(math.prod(max(n * (n + 1), 1) for n in path[:2]))

        cross = torch.linalg.cross(turned[:, l1, None], turned[:, None, l2])
        bracket = torch.einsum("gija,ga->gij", cross, points) / norm
        integral = torch.einsum("g,gij,gk->ijk", areas, bracket, y[:, l3])

        expected = bracket_factor(path) * wigner_3j(*path)
        assert_close(integral, expected, rtol=0, atol=1e-13)


def test_each_path_is_in_the_product_or_in_the_bracket_and_none_in_both():
    even = [path for path in TRIANGLES if sum(path) % 2 == 0]
    odd = [path for path in TRIANGLES if sum(path) % 2 == 1]

    assert (len(even), len(odd)) == (106, 69)
    assert min(abs(gaunt_factor(path)) for path in even) > 0.05
    assert min(abs(bracket_factor(path)) for path in odd) > 0.05
    assert max(abs(gaunt_factor(path)) for path in odd) < 1e-14
    assert max(abs(bracket_factor(path)) for path in even) < 1e-14


@pytest.mark.parametrize("spec", PER_DEGREE)
def test_variances_of_the_paths_to_a_degree_add_up_to_one(spec):
    """Per component: messages of unit-variance operands have unit variance."""
    variances = dict.fromkeys((path.l_out for path in spec.paths), 0.0)
    for path, alpha in zip(spec.paths, spec.path_coefficients(), strict=True):
        variances[path.l_out] += alpha**2 / (2 * path.l_out + 1)

    assert variances == pytest.approx(dict.fromkeys(variances, 1.0))


@pytest.mark.parametrize("lmax", range(1, 7))
def test_odd_paths_are_of_the_scale_of_the_even_ones(lmax):
    """Mean square of factors to each degree, odd over even, as documented."""
    spec = TensorProductSpec(lmax, lmax, lmax, "per_degree", "SO(3)")
    for l_out in range(1, lmax + 1):
        squares: tuple[list[float], list[float]] = ([], [])
        for path, factor in zip(spec.paths, spec.path_factors(), strict=True):
            if path.l_out == l_out:
                squares[sum(path) % 2].append(factor**2)
        even, odd = (sum(values) / len(values) for values in squares)

        assert 0.18 < odd / even < 1.51


@pytest.mark.parametrize("symmetry", ["O(3)", "SO(3)"])
def test_number_of_weights_per_degree(symmetry):
    spec = TensorProductSpec(2, 3, 4, "per_degree", symmetry)

    assert spec.num_weights == (3 + 4 + 5) * (2 if symmetry == "SO(3)" else 1)
