"""The ops of the interpolation: kernels and derivatives of every order."""

import pytest
import torch
from torch.testing import assert_close

from equipot.ops import interpolation
from equipot.ops.interpolation import TERMS, interpolate

ops = torch.ops.equipot
FIRST = torch.tensor([3, 0, 1, 3, 2])


def operands(columns, dtype=torch.float64):
    """Basis functions, table and cotangent."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(FIRST), TERMS), (9, columns), (len(FIRST), columns)]
    return [torch.randn(s, generator=generator, dtype=dtype) for s in shapes]


@pytest.mark.parametrize("columns", [1, 16, 35])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_kernels_equal_the_reference(dtype, columns):
    basis, table, g = operands(columns, dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    for found, expected in (
        (
            ops.interpolate(basis, table, FIRST),
            interpolation._interpolate(basis, table, FIRST),
        ),
        (
            ops.interpolate_basis(table, g, FIRST),
            interpolation._interpolate_basis(table, g, FIRST),
        ),
        (
            ops.interpolate_table(basis, g, FIRST, len(table)),
            interpolation._interpolate_table(basis, g, FIRST, len(table)),
        ),
    ):
        assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["interpolate", "interpolate_basis", "table"])
def test_ops_are_well_defined(name):
    basis, table, g = (t.requires_grad_() for t in operands(3))
    if name == "interpolate":
        op, given = ops.interpolate, (basis, table, FIRST)
    elif name == "interpolate_basis":
        op, given = ops.interpolate_basis, (table, g, FIRST)
    else:
        op, given = ops.interpolate_table, (basis, g, FIRST, len(table))
    torch.library.opcheck(op, given)


def test_second_derivatives():
    basis, table, _ = (t.requires_grad_() for t in operands(3))
    call = lambda b, t: interpolate(b, t, FIRST)  # noqa: E731
    assert torch.autograd.gradgradcheck(call, (basis, table))


@pytest.mark.parametrize("row", [-1, 4])
def test_rows_outside_of_the_table_are_refused(row):
    basis, table, _ = operands(3)
    with pytest.raises(RuntimeError, match="first must be in 0 to 3"):
        interpolate(basis, table, FIRST.clamp(min=row, max=row))
