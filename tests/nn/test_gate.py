"""The gate."""

import torch
from torch.testing import assert_close

from equipot.nn import Gate
from equipot.nn.gate import SIGMOID_GAIN, SILU_GAIN
from equipot.so3 import random_rotation, representation_matrix


def test_gate_commutes_with_rotoreflections(generator):
    gate = Gate(3, 5).double()
    x = torch.randn(7, 16, 5, generator=generator, dtype=torch.float64)
    d = representation_matrix(3, -random_rotation(generator))

    assert_close(gate(d @ x), d @ gate(x), rtol=0, atol=1e-12)


def test_gains_restore_unit_second_moment():
    x = torch.linspace(-12, 12, 100_001, dtype=torch.float64)
    density = torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5
    for function, gain in (
        (torch.nn.functional.silu, SILU_GAIN),
        (torch.sigmoid, SIGMOID_GAIN),
    ):
        moment = torch.trapezoid((gain * function(x)) ** 2 * density, x)
        assert_close(moment.item(), 1.0, rtol=1e-3, atol=0)


def test_scalars_pass_through_silu():
    x = torch.randn(4, 1, 3, dtype=torch.float64)

    assert_close(Gate(0, 3)(x), SILU_GAIN * torch.nn.functional.silu(x))
