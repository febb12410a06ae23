"""Interpolation of functions of the length by quintic B-splines."""

import pytest
import torch
from torch.testing import assert_close

from equipot.nn.radial_table import SHORTEST, RadialTable, largest_error
from equipot.ops.interpolation import interpolate

CUTOFF = 4.0


def lengths(count=50):
    return torch.linspace(SHORTEST, CUTOFF, count, dtype=torch.float64)[:, None]


def interpolated(table, function, r):
    basis, first = table.basis(r)
    values = function(table.sites(r))
    return interpolate(basis, table.coefficients(values), first)


def test_polynomials_of_degree_five_are_exact():
    powers = torch.arange(6)
    found = interpolated(RadialTable(CUTOFF, 7), lambda r: r**powers, lengths())
    assert_close(found, lengths() ** powers, rtol=1e-11, atol=1e-11)


def test_errors_fall_with_the_sixth_power_of_the_width():
    errors = []
    for intervals in (20, 40):
        table = RadialTable(CUTOFF, intervals)
        at = torch.empty(0, dtype=torch.float64)
        values, exact = (torch.sin(4 * f(at)) for f in (table.sites, table.halfway))
        errors.append(largest_error(table, values, exact))
    assert errors[0] / errors[1] > 2**5


def test_second_derivatives_are_those_of_the_function():
    r = lengths()[1:-1].clone().requires_grad_()
    value = interpolated(RadialTable(CUTOFF, 200), torch.sin, r).sum()
    (slope,) = torch.autograd.grad(value, r, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), r)
    assert_close(slope, torch.cos(r), rtol=1e-8, atol=1e-8)
    assert_close(bend, -torch.sin(r), rtol=1e-6, atol=1e-6)


def test_lengths_beyond_the_cutoff_have_its_value():
    beyond = torch.tensor([[CUTOFF + 0.5]], dtype=torch.float64)
    table = RadialTable(CUTOFF, 16)
    found = interpolated(table, lambda r: r - CUTOFF, beyond)
    assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("cutoff", "intervals"), [(0.1, 16), (5.0, 3)])
def test_too_few_intervals_are_refused(cutoff, intervals):
    with pytest.raises(ValueError, match="4 intervals or more"):
        RadialTable(cutoff, intervals)
