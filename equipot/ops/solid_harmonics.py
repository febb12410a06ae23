r"""Ops of the solid harmonics, whose derivatives are ops of the same family.

Derivatives of harmonics of degree l are harmonics of degree l - 1,
:math:`\partial_a Y^l = D^l_a Y^{l-1}`, with a sparse matrix D. Gradients are those of
the polynomial, as for `equipot.so3.spherical_harmonics`, to which this is a fast
equivalent: one op instead of a dozen, for any number of edges.
"""

import math
from functools import cache
from typing import no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.constants import Constant
from equipot.ops.convolution import LIBRARY
from equipot.ops.registration import Definition, define, differentiate_composition
from equipot.so3 import harmonic_derivatives, num_components, spherical_harmonics


def solid_harmonics(
    lmax: int, directions: Float[Tensor, "edges 3"]
) -> Float[Tensor, "edges sph"]:
    """Harmonics of degree 0 to `lmax`, differentiable to any order.

    Args:
        lmax: Highest degree.
        directions: Vectors, as in `equipot.so3.spherical_harmonics`.
    """
    entries, values = derivative_table(lmax)
    out: Tensor = torch.ops.equipot.solid_harmonics(
        directions.contiguous(),
        lmax,
        entries.to(directions.device),
        values.like(directions),
    )
    return out


@cache
def derivative_table(lmax: int) -> tuple[Tensor, Constant]:
    """Nonzero elements of D: index rows (harmonic, axis, lower harmonic) and values."""
    lower = torch.eye(num_components(lmax), dtype=torch.float64)
    derivatives = harmonic_derivatives(lmax, lower).permute(2, 1, 0)
    places = derivatives.nonzero()
    return places.int().contiguous(), Constant(derivatives[tuple(places.T)])


@no_type_check
def _harmonics(n, lmax, entries, values):
    return spherical_harmonics(lmax, n)


@no_type_check
def _backward(n, g, lmax, entries, values):
    return _contract(g, spherical_harmonics(lmax, n))


@no_type_check
def _double_backward(n, g, t, lmax, entries, values):
    y = spherical_harmonics(lmax, n)
    return _contract(_lower(t, g), y), _raise(t, y)


@no_type_check
def _contract(g, y):
    return torch.einsum("ei,jai,ej->ea", g, _derivatives(y), y)


@no_type_check
def _raise(t, y):
    return torch.einsum("ea,jai,ej->ei", t, _derivatives(y), y)


@no_type_check
def _lower(t, g):
    return torch.einsum("ea,jai,ei->ej", t, _derivatives(g), g)


@no_type_check
def _derivatives(y):
    """Dense tensor D with dimensions lower harmonic, axis, harmonic."""
    size = y.shape[1]
    return harmonic_derivatives(math.isqrt(size) - 1, torch.eye(size).to(y))


@no_type_check
def _fake_harmonics(n, lmax, entries, values):
    return n.new_empty((n.shape[0], (lmax + 1) ** 2))


@no_type_check
def _fake_backward(n, g, *constants):
    return torch.empty_like(n)


@no_type_check
def _fake_double_backward(n, g, t, *constants):
    return torch.empty_like(n), torch.empty_like(g)


@no_type_check
def _differentiate_harmonics(operands, constants, g):
    (n,) = operands
    return (torch.ops.equipot.solid_harmonics_backward(n, g.contiguous(), *constants),)


@no_type_check
def _differentiate_backward(operands, constants, t):
    return torch.ops.equipot.solid_harmonics_double_backward(
        *operands, t.contiguous(), *constants
    )


@no_type_check
def _differentiate_double_backward(operands, constants, *cotangents):
    """Third and higher derivatives, by bilinear ops."""
    ops = torch.ops.equipot

    def compose(n, g, t):
        y = ops.solid_harmonics(n, *constants)
        n_bar = ops.contract_harmonics(ops.lower_harmonics(t, g), y)
        return n_bar, ops.raise_harmonics(t, y)

    return differentiate_composition(compose, operands, cotangents)


@no_type_check
def _fake_contract(g, y):
    return y.new_empty((y.shape[0], 3))


@no_type_check
def _fake_like(t, y):
    return torch.empty_like(y)


@no_type_check
def _differentiate_contract(operands, constants, t):
    g, y = operands
    return torch.ops.equipot.raise_harmonics(t, y), torch.ops.equipot.lower_harmonics(
        t, g
    )


@no_type_check
def _differentiate_raise(operands, constants, c):
    t, y = operands
    return torch.ops.equipot.contract_harmonics(
        c, y
    ), torch.ops.equipot.lower_harmonics(t, c)


@no_type_check
def _differentiate_lower(operands, constants, c):
    t, g = operands
    return torch.ops.equipot.contract_harmonics(
        g, c
    ), torch.ops.equipot.raise_harmonics(t, c)


_TABLE_SCHEMA = "int lmax, Tensor entries, Tensor values"
DEFINITIONS = {
    "solid_harmonics": Definition(
        f"(Tensor n, {_TABLE_SCHEMA}) -> Tensor",
        _harmonics,
        _fake_harmonics,
        _differentiate_harmonics,
        num_operands=1,
    ),
    "solid_harmonics_backward": Definition(
        f"(Tensor n, Tensor g, {_TABLE_SCHEMA}) -> Tensor",
        _backward,
        _fake_backward,
        _differentiate_backward,
        num_operands=2,
    ),
    "solid_harmonics_double_backward": Definition(
        f"(Tensor n, Tensor g, Tensor t, {_TABLE_SCHEMA}) -> (Tensor, Tensor)",
        _double_backward,
        _fake_double_backward,
        _differentiate_double_backward,
        num_operands=3,
    ),
    # sum_ij g_i D_aij y_j, and its derivatives with respect to g and y along t.
    "contract_harmonics": Definition(
        "(Tensor g, Tensor y) -> Tensor",
        _contract,
        _fake_contract,
        _differentiate_contract,
        num_operands=2,
    ),
    "raise_harmonics": Definition(
        "(Tensor t, Tensor y) -> Tensor",
        _raise,
        _fake_like,
        _differentiate_raise,
        num_operands=2,
    ),
    "lower_harmonics": Definition(
        "(Tensor t, Tensor g) -> Tensor",
        _lower,
        _fake_like,
        _differentiate_lower,
        num_operands=2,
    ),
}
for _name, _definition in DEFINITIONS.items():
    define(_name, _definition, LIBRARY)
