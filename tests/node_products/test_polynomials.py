"""Polynomials as symmetric tensors: products, norms, and moments."""

import itertools

import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch.testing import assert_close

from equipot.node_products.polynomials import monomials, second_moment, symmetrize
from tests.node_products.dense import num_orderings

VARIABLES = 3


def evaluate(order, polynomials, x):
    """Values at a point; components are of an orthonormal basis."""
    table = monomials(len(x), order)
    return polynomials @ (num_orderings(table).sqrt() * x[table].prod(1))


def full_tensor(order, polynomial):
    """All components of the symmetric tensor."""
    out = torch.zeros([VARIABLES] * order, dtype=torch.float64)
    for component, indices in zip(
        polynomial, monomials(VARIABLES, order).tolist(), strict=True
    ):
        places = set(itertools.permutations(indices))
        for place in places:
            out[place] = component / len(places) ** 0.5
    return out


@pytest.mark.parametrize("variables", [1, 4, 9])
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_every_monomial_is_listed_once(variables, order):
    listed = [tuple(m) for m in monomials(variables, order).tolist()]
    every = itertools.combinations_with_replacement(range(variables), order)

    assert sorted(listed) == sorted(every)


@pytest.mark.parametrize(("left", "right"), [(1, 1), (2, 1), (2, 2), (3, 1)])
def test_products_have_the_product_of_values(left, right, generator):
    sizes = [len(monomials(VARIABLES, n)) for n in (left, right)]
    a, b = (torch.randn(1, n, generator=generator).double() for n in sizes)
    x = torch.randn(VARIABLES, generator=generator).double()

    product = symmetrize(VARIABLES, (left, right), a[:, :, None] * b[:, None])

    expected = evaluate(left, a, x) * evaluate(right, b, x)
    assert_close(evaluate(left + right, product, x), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_dot_products_are_those_of_full_tensors(order, generator):
    size = len(monomials(VARIABLES, order))
    a, b = torch.randn(2, size, generator=generator).double()

    full = (full_tensor(order, a) * full_tensor(order, b)).sum()

    assert_close(a @ b, full, rtol=1e-12, atol=0)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_second_moments_equal_gaussian_quadrature(order, generator):
    """Gauss-Hermite quadrature of five nodes is exact to power nine of a variable."""
    size = len(monomials(VARIABLES, order))
    polynomials = torch.randn(2, size, generator=generator).double()
    nodes, weights = map(torch.from_numpy, hermegauss(5))
    weights = weights / weights.sum()
    expected = torch.zeros(2, dtype=torch.float64)
    for place in itertools.product(range(5), repeat=VARIABLES):
        index = list(place)
        values = evaluate(order, polynomials, nodes[index])
        expected += weights[index].prod() * values**2

    assert_close(
        second_moment(VARIABLES, order, polynomials), expected, rtol=1e-10, atol=0
    )
