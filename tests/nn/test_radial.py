"""Radial functions: orthogonality, limits, smoothness."""

import torch
from torch.testing import assert_close

from equipot.nn import BesselBasis, RadialMLP, polynomial_envelope


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
