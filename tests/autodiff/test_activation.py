"""Our SiLU is PyTorch's, to every order."""

import pytest
import torch
from torch.testing import assert_close

from equipot.autodiff.activation import silu


def derivatives(function, x, order):
    """Successive derivatives of a function of one variable, at many points."""
    values = [function(x)]
    for _ in range(order):
        values.append(torch.autograd.grad(values[-1].sum(), x, create_graph=True)[0])
    return torch.stack(values)


def test_values_and_four_derivatives_equal_those_of_pytorch():
    x = torch.linspace(-40, 40, 81, dtype=torch.float64, requires_grad=True)

    assert_close(
        derivatives(silu, x, 4),
        derivatives(torch.nn.functional.silu, x, 4),
        rtol=1e-12,
        atol=1e-14,
    )


def test_derivatives_are_those_of_the_values():
    x = torch.randn(7, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(silu, x)
    assert torch.autograd.gradgradcheck(silu, x)


@pytest.mark.parametrize("value", [-1e4, -100.0, 0.0, 100.0, 1e4])
def test_derivatives_are_finite_far_out(value):
    x = torch.tensor([value], requires_grad=True)

    assert derivatives(silu, x, 3).isfinite().all()


def test_works_for_batches_of_directions():
    x = torch.randn(5, dtype=torch.float64)

    jacobian = torch.func.vmap(torch.func.grad(torch.func.grad(silu)))(x)

    assert_close(jacobian, derivatives(silu, x.requires_grad_(), 2)[2].detach())
