"""Differences, and what passes for rounding."""

import math

import pytest
import torch

from equipot.tensor_products.agreement import Difference, difference, rounding_tolerance


def tensors(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_all_pairs_share_one_scale():
    found = difference(
        [(tensors(1.0), tensors(1.1)), (tensors(50.0), tensors(50.0))], 1e-2
    )

    assert found.max_abs == pytest.approx(0.1)
    assert found.relative == pytest.approx(0.1 / 50)
    assert found.passed


def test_what_should_vanish_is_compared_with_the_floor():
    pair = [(tensors(1e-12), tensors(0.0))]

    assert not difference(pair, 1e-9).passed
    assert math.isinf(difference(pair, 1e-9).relative)
    assert difference(pair, 1e-9, floor=1.0).passed


def test_nothing_and_equal_zeros_pass():
    assert difference([], 0.0).passed
    assert difference([(torch.zeros(0, 3), torch.zeros(0, 3))], 0.0).passed
    assert difference([(tensors(0.0), tensors(0.0))], 0.0).passed


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [0, 1])
def test_what_is_not_finite_never_passes(bad, position):
    pairs = [(tensors(1.0), tensors(1.0)), (tensors(1.0), tensors(1.0))]
    pairs[position] = (tensors(bad), tensors(1.0))

    assert not difference(pairs, 1e9).passed


def test_shapes_must_be_equal():
    with pytest.raises(ValueError, match=r"cannot compare shapes \(2,\) and \(1,\)"):
        difference([(tensors(1.0, 1.0), tensors(1.0))], 1.0)


def test_rounding_of_the_reference_sets_the_tolerance_and_has_a_floor():
    rough = Difference(max_abs=3e-5, scale=1.0, tolerance=0.0)
    exact = Difference(max_abs=0.0, scale=1.0, tolerance=0.0)

    assert rounding_tolerance(rough, torch.float32) == pytest.approx(3e-4)
    assert rounding_tolerance(exact, torch.float32) == 16 * 2**-23
