"""What products can express, against counts by hand and facts of the literature."""

import math

import pytest
import torch
from torch.testing import assert_close

from equipot.bench.couplings import (
    Parameters,
    path_coefficients,
    random_parameters,
    triples,
)
from equipot.bench.expressivity import expressivity
from equipot.tensor_products import (
    BACKENDS,
    ClebschGordan,
    TensorProduct,
    TensorProductSpec,
    unavailable,
)
from equipot.tensor_products.spec import gaunt_factor

EVEN = [4, 11, 23, 42, 69, 106]
"""Couplings of even l1 + l2 + l3 for lmax 1 to 6, counted by hand."""
ALL = [5, 15, 34, 65, 111, 175]
"""Couplings of any parity."""


@pytest.mark.parametrize("lmax", range(1, 7))
def test_clebsch_gordan_spans_what_its_symmetry_allows(lmax):
    even = expressivity(ClebschGordan(TensorProductSpec(lmax, lmax, lmax)))

    assert even.single == even.mixed == len(even.interacting) == EVEN[lmax - 1]
    assert len(even.impossible) == ALL[lmax - 1] - EVEN[lmax - 1]
    assert all(sum(path) % 2 == 1 for path in even.impossible)


@pytest.mark.parametrize("lmax", range(1, 5))
def test_so3_couplings_are_all_that_rotations_allow(lmax):
    spec = TensorProductSpec(lmax, lmax, lmax, symmetry="SO(3)")

    found = expressivity(ClebschGordan(spec))

    assert found.single == len(found.interacting) == ALL[lmax - 1]
    assert found.impossible == ()


@pytest.mark.parametrize("lmax", range(1, 5))
def test_gaunt_has_few_free_couplings_and_mixed_channels_reach_all_even_ones(lmax):
    spec = TensorProductSpec(lmax, lmax, lmax, weighting="per_degree")

    found = expressivity(ClebschGordan(spec))

    assert len(found.interacting) == EVEN[lmax - 1]
    assert found.single == 3 * lmax + 1
    assert found.mixed == EVEN[lmax - 1]
    assert found.channels <= 4


@pytest.mark.parametrize(("lmax", "single"), [(1, 5), (2, 11), (3, 17), (4, 23)])
def test_the_bracket_adds_the_odd_couplings(lmax, single):
    spec = TensorProductSpec(lmax, lmax, lmax, "per_degree", "SO(3)")

    found = expressivity(ClebschGordan(spec))

    assert found.single == single
    assert found.mixed == len(found.interacting) == ALL[lmax - 1]
    assert found.channels <= 8


def test_concatenated_paths_are_as_free_as_their_sum():
    spec = TensorProductSpec(2, 2, 2, accumulate="concat")

    found = expressivity(ClebschGordan(spec))

    assert found.ranks == (EVEN[1],)


def test_unequal_degrees_are_counted_as_paths():
    spec = TensorProductSpec(1, 3, 2)

    found = expressivity(ClebschGordan(spec))

    assert set(found.interacting) == set(spec.paths)
    assert found.single == len(spec.paths)


def test_coefficients_are_those_of_the_definition():
    spec = TensorProductSpec(2, 1, 2)
    parameters = random_parameters(spec, 3, torch.Generator().manual_seed(0))

    values, residual = path_coefficients(ClebschGordan(spec), parameters)

    expected = torch.zeros_like(values)
    for row, path in enumerate(triples(2, 1, 2)):
        if path in spec.paths:
            n = spec.paths.index(path)
            alpha = spec.path_coefficients()[n]
            scale = parameters.before[path.l_in] * parameters.after[path.l_out]
            expected[row] = alpha * parameters.weights[n] * scale
    assert_close(values, expected, rtol=0, atol=1e-12)
    assert residual < 1e-12


@pytest.mark.parametrize("name", BACKENDS)
def test_backends_have_the_coefficients_of_the_reference(name):
    if (reason := unavailable(name, torch.device("cpu"))) is not None:
        pytest.skip(f"{name}: {reason}")
    spec = TensorProductSpec(2, 2, 2)
    if BACKENDS[name].unsupported(spec) is not None:
        spec = TensorProductSpec(2, 2, 2, weighting="per_degree")
    parameters = random_parameters(spec, 2, torch.Generator().manual_seed(0))

    values, residual = path_coefficients(BACKENDS[name](spec), parameters)

    expected, _ = path_coefficients(ClebschGordan(spec), parameters)
    assert_close(values, expected, rtol=0, atol=1e-12)
    assert residual < 1e-12


class Skewed(TensorProduct):
    """A product of which one component is wrong: it does not commute with rotations."""

    def __init__(self, spec):
        super().__init__(spec)
        self.right = ClebschGordan(spec)

    @staticmethod
    def unsupported(spec):
        return None

    def prepare(self, directions, connectivity):
        return self.right.prepare(directions, connectivity)

    def forward(self, x, edges, weights):
        messages = self.right(x, edges, weights)
        messages[:, 2] *= 1.01
        return messages


def test_what_is_no_coupling_is_left_over():
    spec = TensorProductSpec(1, 1, 1)
    parameters = random_parameters(spec, 2, torch.Generator().manual_seed(0))

    _, residual = path_coefficients(Skewed(spec), parameters)

    assert residual > 1e-3


def test_gaunt_coefficients_are_gaunt_factors():
    """Up to the normalisation of each degree of the messages."""
    spec = TensorProductSpec(2, 2, 2, weighting="per_degree")
    ones = Parameters(
        *(torch.ones(n, 1, dtype=torch.float64) for n in (3, spec.num_weights, 3))
    )

    values, _ = path_coefficients(ClebschGordan(spec), ones)

    ratios = [
        float(value) / gaunt_factor(path)
        for path, value in zip(triples(2, 2, 2), values[:, 0], strict=True)
        if path in spec.paths and path.l_out == 2
    ]
    assert all(math.isclose(r, ratios[0], rel_tol=1e-12) for r in ratios)
