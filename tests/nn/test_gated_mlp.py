"""The gated MLP."""

import torch
from torch.testing import assert_close

from equipot.nn import GatedMLP


def test_the_gate_multiplies_by_a_logistic_function():
    mlp = GatedMLP([3, 4, 2]).double()
    x = torch.randn(5, 3, dtype=torch.float64)

    hidden = torch.nn.functional.silu(mlp.gate[0](x))
    expected = mlp.value(x) / (1 + torch.exp(-mlp.gate[2](hidden)))
    assert_close(mlp(x), expected)
