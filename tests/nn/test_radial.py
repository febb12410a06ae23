"""Radial functions: orthogonality, limits, smoothness."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from equipot.nn import (
    BesselBasis,
    RadialInputs,
    RadialMLP,
    SmoothBesselBasis,
    cosine_envelope,
    polynomial_envelope,
    xplor_envelope,
)


def test_bessel_functions_are_orthonormal_in_the_sphere():
    """The integral of b_m b_n r^2 over the sphere is the identity."""
    cutoff, n = 5.0, 20_001
    r = torch.linspace(1e-9, cutoff, n, dtype=torch.float64)[:, None]
    values = BesselBasis(cutoff, 6)(r)

    gram = torch.trapezoid(
        values[:, :, None] * values[:, None] * r[:, :, None] ** 2, r[:, 0], dim=0
    )

    assert_close(gram, torch.eye(6).double(), rtol=0, atol=1e-6)


def test_bessel_functions_are_finite_at_zero_and_vanish_at_the_cutoff():
    cutoff = 4.0
    ends = torch.tensor([[1e-10], [cutoff]], dtype=torch.float64)

    values = BesselBasis(cutoff, 3)(ends)

    at_zero = (2 / cutoff) ** 0.5 * torch.pi / cutoff * torch.arange(1, 4).double()
    assert_close(values[0], at_zero)
    assert_close(values[1], torch.zeros(3).double(), rtol=0, atol=1e-14)


def test_envelope_falls_from_one_to_zero_with_flat_ends():
    for power in (4, 6):
        x = torch.tensor([[0.0], [1.0], [1.7]], dtype=torch.float64).requires_grad_()
        value = polynomial_envelope(x, power)
        (first,) = torch.autograd.grad(value.sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)

        assert_close(
            value, torch.tensor([[1.0], [0.0], [0.0]]).double(), rtol=0, atol=1e-13
        )
        assert_close(first, torch.zeros(3, 1).double(), rtol=0, atol=1e-12)
        assert_close(second, torch.zeros(3, 1).double(), rtol=0, atol=1e-12)


def test_radial_weights_vanish_with_the_envelope_despite_biases():
    mlp = RadialMLP(4, (8, 8), 5).double()
    with torch.no_grad():
        for layer in mlp.hidden:
            layer.bias.fill_(1.0)
    basis = torch.randn(3, 4, dtype=torch.float64)

    weights = mlp(basis, torch.tensor([[1.0], [0.5], [0.0]], dtype=torch.float64))

    assert weights[0].abs().min() > 0
    assert not weights[2].any()


def test_xplor_envelope_falls_from_one_at_the_onset_to_zero_at_the_cutoff():
    r = torch.tensor([[0.5], [4.5], [4.75], [5.0], [6.0]], dtype=torch.float64)

    values = xplor_envelope(r, 4.5, 5.0)[:, 0].tolist()

    square = 4.75**2
    middle = (25 - square) ** 2 * (25 + 2 * square - 3 * 4.5**2) / (25 - 4.5**2) ** 3
    assert values == pytest.approx([1, 1, middle, 0, 0], abs=1e-14)


def test_biases_with_an_envelope_on_the_input_are_refused():
    with pytest.raises(ValueError, match="biases leave a step at the cutoff"):
        RadialMLP(4, (8,), 5, envelope_on="input")


@pytest.mark.parametrize("envelope_on", ["input", "output"])
def test_weights_without_biases_vanish_with_the_envelope(envelope_on):
    mlp = RadialMLP(4, (8, 8), 5, bias=False, envelope_on=envelope_on).double()
    basis = torch.randn(3, 4, dtype=torch.float64)
    envelope = torch.tensor([[0.0], [1e-6], [1.0]], dtype=torch.float64)

    values = mlp(basis, envelope)

    assert values[0].abs().max() == 0
    assert 0 < values[1].abs().max() < 1e-5
    assert values[2].abs().max() > 1e-2


def test_trained_wave_numbers_start_as_the_constant_ones():
    r = torch.linspace(0.1, 4.0, 7, dtype=torch.float64)[:, None]
    constant, trained = BesselBasis(4.0, 6), BesselBasis(4.0, 6, trainable=True)

    trained(r).sum().backward()

    torch.testing.assert_close(trained(r), constant(r), rtol=0, atol=1e-5)
    assert dict(constant.named_parameters()) == {}
    assert trained.wave_numbers.grad.abs().min() > 0


def test_a_transform_moves_the_radial_functions_but_not_the_envelope():
    class Longer(torch.nn.Module):
        def forward(self, lengths, elements):
            return lengths + elements.sum(0)[:, None]

    basis = BesselBasis(4.0, 6)
    inputs = RadialInputs(basis, lambda r: 4.0 - r, Longer())
    r = torch.tensor([[1.0], [2.0]])

    values, envelope = inputs(r, torch.tensor([[0, 1], [0, 0]]))

    assert torch.equal(values, basis(torch.tensor([[1.0], [3.0]])))
    assert torch.equal(envelope, 4.0 - r)


def test_without_biases_the_weights_that_are_drawn_keep_the_variance():
    torch.manual_seed(0)
    radial = RadialMLP(64, (64, 64, 64), 400, bias=False)

    out = radial(torch.randn(1000, 64), torch.ones(1000, 1))

    assert 0.7 < out.std().item() < 1.4


def test_smooth_bessel_functions_are_orthonormal_and_end_without_a_slope():
    cutoff, count = 5.0, 4
    basis = SmoothBesselBasis(cutoff, count)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    r = torch.tensor((nodes + 1) * cutoff / 2)[:, None]
    values = basis(r) * r * torch.tensor(weights * cutoff / 2).sqrt()[:, None]

    torch.testing.assert_close(values.T @ values, torch.eye(count).double())

    end = torch.tensor([[cutoff]], dtype=torch.float64, requires_grad=True)
    for n in range(count):
        value = basis(end)[0, n]
        (slope,) = torch.autograd.grad(value, end)
        assert abs(value.item()) < 1e-13
        assert abs(slope.item()) < 1e-13


def test_smooth_bessel_functions_are_continuous_at_zero():
    basis = SmoothBesselBasis(5.0, 4)
    r = torch.tensor([[1e-6]], dtype=torch.float64)

    torch.testing.assert_close(basis(r), basis.at_zero(r), rtol=0, atol=1e-10)


def test_cosine_envelope_is_half_a_period():
    x = torch.tensor([[0.0], [0.5], [1.0], [1.2]], dtype=torch.float64)

    assert cosine_envelope(x)[:, 0].tolist() == pytest.approx([1, 0.5, 0, 0])
