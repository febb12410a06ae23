"""Tabulated functions of edge lengths: values, all derivatives, batches of vectors."""

import pytest
import torch
from torch.testing import assert_close

from equipot.autodiff.edge_function import EdgeFunction

LENGTHS = [[0.7], [1.9], [3.1]]
RATES = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


def function(r):
    return torch.sin(r * RATES) / r


@pytest.fixture
def lengths():
    return torch.tensor(LENGTHS, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("order", range(5))
def test_derivatives_of_exponentials(order, lengths):
    """The n-th derivative of exp(k r) is k^n exp(k r)."""
    table = EdgeFunction(lambda r: torch.exp(RATES * r), lengths).table(order)
    assert_close(table, RATES**order * torch.exp(RATES * lengths.detach()))


def test_gradients_of_every_order_are_those_of_the_function(lengths):
    cotangent = torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()

    def gradients(values):
        found, current = [], (values * cotangent).square().sum()
        for _ in range(4):
            (current,) = torch.autograd.grad(current.sum(), lengths, create_graph=True)
            found.append(current)
        return found

    tabulated = gradients(EdgeFunction(function, lengths)())

    for found, expected in zip(tabulated, gradients(function(lengths)), strict=True):
        assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_gradients_by_what_multiplies_it(lengths):
    factor = torch.ones(3, 3, dtype=torch.float64, requires_grad=True)

    def check(factor, r):
        return (EdgeFunction(function, r)() * factor).pow(3)

    assert torch.autograd.gradcheck(check, (factor, lengths))
    assert torch.autograd.gradgradcheck(check, (factor, lengths))


def test_batches_of_vectors(lengths):
    values = EdgeFunction(function, lengths)().square()
    (gradient,) = torch.autograd.grad(values.sum(), lengths, create_graph=True)
    units = torch.eye(3, dtype=torch.float64)[:, :, None]

    (batched,) = torch.autograd.grad(
        gradient, lengths, units, is_grads_batched=True, retain_graph=True
    )

    for unit, row in zip(units, batched, strict=True):
        (alone,) = torch.autograd.grad(gradient, lengths, unit, retain_graph=True)
        assert_close(row, alone)
