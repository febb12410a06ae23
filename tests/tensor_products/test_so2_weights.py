"""Weights of paths and weights in the frame of an edge are one and the same."""

import pytest
import torch
from torch.testing import assert_close

from equipot.so3 import wigner_3j
from equipot.tensor_products import Path, TensorProductSpec
from equipot.tensor_products.so2_weights import (
    SO2Weight,
    paths_to_so2,
    so2_to_paths,
    so2_weights,
)

COMPLETE = [
    TensorProductSpec(l_in, l_in + l_out, l_out, symmetry=symmetry)
    for l_in, l_out in [(0, 0), (0, 3), (3, 0), (1, 1), (2, 3), (4, 2), (6, 6)]
    for symmetry in ("O(3)", "SO(3)")
]
TRUNCATED = [
    TensorProductSpec(3, 3, 3),
    TensorProductSpec(6, 6, 6),
    TensorProductSpec(4, 1, 3, symmetry="SO(3)"),
    TensorProductSpec(3, 3, 3, weighting="per_degree"),
]


def without_coefficients(spec):
    coefficients = torch.tensor(spec.path_coefficients(), dtype=torch.float64)
    return paths_to_so2(spec) / coefficients


@pytest.mark.parametrize("spec", COMPLETE)
def test_round_trips_are_exact(spec):
    there, back = paths_to_so2(spec), so2_to_paths(spec)

    identity = torch.eye(len(spec.paths), dtype=torch.float64)
    assert_close(back @ there, identity, rtol=0, atol=1e-13)
    assert_close(there @ back, identity, rtol=0, atol=1e-13)


@pytest.mark.parametrize("spec", TRUNCATED)
def test_filter_of_low_degree_spans_a_subspace(spec):
    """Paths survive the round trip; other weights are projected, once and for all."""
    there, back = paths_to_so2(spec), so2_to_paths(spec)
    projection = there @ back

    assert len(so2_weights(spec)) > len(spec.paths)
    identity = torch.eye(len(spec.paths), dtype=torch.float64)
    assert_close(back @ there, identity, rtol=0, atol=1e-13)
    assert_close(projection @ projection, projection, rtol=0, atol=1e-13)


@pytest.mark.parametrize("spec", COMPLETE)
def test_maps_lose_no_accuracy(spec):
    """Without the coefficients of paths the condition number is the root of two."""
    bare = without_coefficients(spec)
    several_orders = min(spec.lmax_in, spec.lmax_out) > 0
    expected = torch.tensor(2.0 if several_orders else 1.0, dtype=torch.float64).sqrt()

    assert_close(torch.linalg.cond(bare), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("spec", COMPLETE)
def test_unit_weights_of_paths_have_variance_one_and_one_half(spec):
    """Of m = 0 and of the others, for all paths between a pair of degrees."""
    bare = without_coefficients(spec)

    variances = bare.pow(2).sum(1)

    expected = [1.0 if weight.order == 0 else 0.5 for weight in so2_weights(spec)]
    assert_close(variances, torch.tensor(expected).double(), rtol=1e-12, atol=0)


def test_maps_in_closed_form():
    """Two couplings by hand: l = 1 to 1 through the filters of degree 0, 1 and 2."""
    spec = TensorProductSpec(1, 2, 1, symmetry="SO(3)")
    row = {weight: n for n, weight in enumerate(so2_weights(spec))}
    column = {path: n for n, path in enumerate(spec.paths)}
    bare = without_coefficients(spec)

    def entry(order, swaps, l_filter):
        return bare[row[SO2Weight(1, 1, order, swaps)], column[Path(1, l_filter, 1)]]

    assert_close(entry(0, False, 0).item(), 3**-0.5)
    assert_close(entry(1, False, 0).item(), 3**-0.5)
    # z, x and y of the traceless product y y - 1/3: -1/3, -1/3 and 2/3
    assert_close(abs(entry(0, False, 2).item()), (2 / 3) ** 0.5)
    assert_close(entry(1, False, 2) / entry(0, False, 2), -torch.tensor(0.5).double())
    # the cross product with y: no component along y, and x to z
    sign = wigner_3j(1, 1, 1)[2, 1, 0].sign().item()
    assert_close(entry(1, True, 1).item(), sign * 0.5**0.5)
    assert entry(1, True, 0) == entry(1, True, 2) == entry(0, False, 1) == 0


def test_o3_has_no_weights_that_swap():
    spec = TensorProductSpec(3, 3, 3)

    assert len(so2_weights(spec)) == 30
    assert not any(weight.swaps for weight in so2_weights(spec))
