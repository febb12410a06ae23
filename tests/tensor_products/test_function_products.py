"""Backends that multiply functions on the sphere do exactly that."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from equipot.config.model import NequIPConfig
from equipot.models import check_model
from equipot.so3 import spherical_harmonics
from equipot.tensor_products import (
    TensorProductSpec,
    UnsupportedSpecError,
    function_product,
    get_backend,
)
from tests.contracts.test_tensor_products import convolve, random_inputs
from tests.tensor_products.products_at_points import (
    bracket,
    complete_spec,
    random_function,
    single_message,
    unit_vectors,
    unscaled,
    values,
)

NAMES = ["spherical_grid", "gaunt_fft"]
LMAX = [(0, 0), (0, 2), (2, 0), (1, 1), (3, 2), (2, 3), (6, 6)]


def operands(spec, generator):
    """Features, direction, and the filter that they meet if weights are 1."""
    x = random_function(spec.lmax_in, generator)
    direction = unit_vectors(1, generator)
    filter_ = spherical_harmonics(spec.lmax_filter, direction)[0]
    return x, direction[0], filter_


@pytest.mark.parametrize("lmax", LMAX)
@pytest.mark.parametrize("name", NAMES)
def test_message_is_the_product_of_features_and_filter_at_every_point(
    name, lmax, generator
):
    spec = complete_spec(*lmax)
    x, direction, filter_ = operands(spec, generator)
    points = unit_vectors(30, generator)

    message = single_message(
        get_backend(name)(spec), x, direction, torch.ones(spec.num_weights).double()
    )

    found = values(unscaled(spec, message), points)
    expected = values(x, points) * values(filter_, points)
    assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("lmax", [(1, 1), (3, 2), (2, 3), (6, 6)])
@pytest.mark.parametrize("name", NAMES)
def test_message_of_odd_paths_is_the_bracket_at_every_point(name, lmax, generator):
    """With gradients normalised, degree by degree of features and filter."""
    spec = complete_spec(*lmax, symmetry="SO(3)")
    x, direction, filter_ = operands(spec, generator)
    points = unit_vectors(30, generator)
    weights = torch.ones(spec.num_weights).double()
    weights[: spec.num_weights // 2] = 0

    message = single_message(get_backend(name)(spec), x, direction, weights)

    f, h = (gradients_normalised(function) for function in (x, filter_))
    found = values(unscaled(spec, message), points)
    expected = bracket(f, h, points)
    assert expected.abs().max() > 0.1
    assert_close(found, expected, rtol=0, atol=1e-11)


def gradients_normalised(coefficients):
    lmax = int(len(coefficients) ** 0.5) - 1
    norms = [
        max(n * (n + 1), 1) ** 0.5 for n in range(lmax + 1) for _ in range(2 * n + 1)
    ]
    return coefficients / torch.tensor(norms, dtype=torch.float64)


@pytest.mark.parametrize("symmetry", ["O(3)", "SO(3)"])
@pytest.mark.parametrize("name", NAMES)
def test_edges_may_be_computed_in_blocks_of_any_size(name, symmetry, monkeypatch):
    """Values and gradients, with blocks of one edge, of some and of all."""
    spec = TensorProductSpec(2, 2, 2, "per_degree", symmetry)
    *tensors, edge_index = random_inputs(spec)
    results = []
    for numbers in (1, 700, 10**9):
        monkeypatch.setattr(function_product, "VALUES_PER_BLOCK", numbers)
        inputs = [t.detach().requires_grad_() for t in tensors]
        out = convolve(get_backend(name)(spec), *inputs, edge_index)
        results.append([out, *torch.autograd.grad(out.pow(2).sum(), inputs)])

    for first, second in itertools.pairwise(results):
        for a, b in zip(first, second, strict=True):
            assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_a_product_of_functions_is_refused_with_a_reason(name):
    backend = get_backend(name)
    with pytest.raises(UnsupportedSpecError, match=r"choose weighting='per_degree'"):
        backend(TensorProductSpec(1, 1, 1))
    with pytest.raises(UnsupportedSpecError, match=r"choose accumulate='sum'"):
        backend(TensorProductSpec(1, 1, 1, "per_degree", accumulate="concat"))


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_is_refused_before_data_are_read(name):
    config = NequIPConfig(backend=name, lmax=1)

    with pytest.raises(UnsupportedSpecError, match=r"choose weighting='per_degree'"):
        check_model(config)
    check_model(config.model_copy(update={"weighting": "per_degree"}))
