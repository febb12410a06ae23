"""Weights per degree are multiplied to those of paths."""

import pytest
import torch

from equipot.tensor_products import TensorProductSpec
from equipot.tensor_products.weights import path_weights


@pytest.mark.parametrize("symmetry", ["O(3)", "SO(3)"])
def test_each_path_has_the_weights_of_its_degrees_and_parity(symmetry):
    """Weights are prime numbers: a product says which were multiplied."""
    spec = TensorProductSpec(1, 2, 2, "per_degree", symmetry)
    a = {(0, 0): 2, (0, 1): 3, (1, 0): 23, (1, 1): 29}
    b = {(0, 0): 5, (0, 1): 7, (0, 2): 11, (1, 0): 31, (1, 1): 37, (1, 2): 41}
    c = {(0, 0): 13, (0, 1): 17, (0, 2): 19, (1, 0): 43, (1, 1): 47, (1, 2): 53}
    primes = [
        operand[parity, degree]
        for parity in range(2)
        for operand in (a, b, c)
        for degree in range(len(operand) // 2)
    ]
    weights = torch.tensor(primes).double()[: spec.num_weights, None].expand(1, -1, 1)

    found = path_weights(spec, weights).flatten().tolist()

    expected = []
    for path in spec.paths:
        odd = sum(path) % 2
        l_in, l_filter, l_out = path
        expected.append(a[odd, l_in] * b[odd, l_filter] * c[odd, l_out])
    assert found == expected


def test_weights_per_path_are_their_own():
    spec = TensorProductSpec(2, 2, 2)
    weights = torch.randn(3, spec.num_weights, 4)

    assert path_weights(spec, weights) is weights
