r"""Homogeneous polynomials, represented as symmetric tensors.

A polynomial of order n is represented by its components in the orthonormal basis of
symmetric tensors, so that dot products are those of the full tensors of n indices:

.. math:: p(x) = \sum_{i_1 \dots i_n} T_{i_1 \dots i_n} x_{i_1} \cdots x_{i_n}
          = \sum_M t_M \sqrt{n! / M!} \; x^M, \qquad t \cdot t' = \sum_i T_i T'_i
"""

import math
from functools import cache

import torch
from jaxtyping import Float64, Int
from torch import Tensor


@cache
def monomials(num_variables: int, order: int) -> Int[Tensor, "monomials order"]:
    """Ascending variable indices of all monomials, in colexicographic order."""
    if order == 0:
        return torch.zeros(1, 0, dtype=torch.int64)
    variables = torch.arange(num_variables)
    table = torch.combinations(variables, order, with_replacement=True)
    return table[monomial_index(table).argsort()]


def symmetrize(
    num_variables: int,
    orders: tuple[int, int],
    tensors: Float64[Tensor, "tensors monomials_left monomials_right"],
) -> Float64[Tensor, "tensors monomials"]:
    """Expand products of polynomials in monomials.

    Args:
        num_variables: Number of variables.
        orders: Orders of the left and the right polynomials.
        tensors: Coefficients of products of a left and a right basis polynomial.
    """
    index, values, size = _product_table(num_variables, *orders)
    out = tensors.new_zeros(size, len(tensors))
    return out.index_add_(0, index, (tensors.flatten(1) * values).T).T


def second_moment(
    num_variables: int,
    order: int,
    polynomials: Float64[Tensor, "polynomials monomials"],
) -> Float64[Tensor, " polynomials"]:
    r"""Mean square over independent standard normal variables.

    .. math:: \langle p^2 \rangle = \sum_j \left( \frac{n!}{2^j j! (n-2j)!} \right)^2
              (n-2j)! \, \lVert \mathrm{tr}^j T \rVert^2

    Source:
        Isserlis' theorem, with j pairs within each polynomial and n - 2j between them.
    """
    total = polynomials.new_zeros(len(polynomials))
    for pairs in range(order // 2 + 1):
        free = order - 2 * pairs
        ways = math.factorial(order) / (
            2**pairs * math.factorial(pairs) * math.factorial(free)
        )
        total += ways**2 * math.factorial(free) * polynomials.square().sum(1)
        if free >= 2:
            polynomials = _trace(num_variables, free, polynomials)
    return total


def monomial_index(
    table: Int[Tensor, "monomials order"],
) -> Int[Tensor, " monomials"]:
    """Index in `monomials`, colexicographic order, of monomials of one order."""
    order = table.shape[1]
    rank = torch.zeros(len(table), dtype=torch.int64)
    for k in range(order):
        # binomial(variable + k, k + 1), factor by factor in integers
        term = torch.ones_like(rank)
        for i in range(k + 1):
            term = term * (table[:, k] + i)
        rank += term // math.factorial(k + 1)
    return rank


@cache
def _product_table(
    num_variables: int, left: int, right: int
) -> tuple[Int[Tensor, " pairs"], Float64[Tensor, " pairs"], int]:
    """Index and coefficient of the product of two basis monomials."""
    a, b = monomials(num_variables, left), monomials(num_variables, right)
    joined = torch.cat(
        [a[:, None].expand(-1, len(b), -1), b[None].expand(len(a), -1, -1)], dim=2
    )
    table = joined.flatten(0, 1).sort(dim=1).values
    norms = basis_norm(a)[:, None] * basis_norm(b)
    values = norms.flatten() / basis_norm(table)
    return monomial_index(table), values, len(monomials(num_variables, left + right))


def _trace(
    num_variables: int,
    order: int,
    polynomials: Float64[Tensor, "polynomials monomials"],
) -> Float64[Tensor, "polynomials monomials_of_trace"]:
    """Trace over two indices of symmetric tensors."""
    rest = monomials(num_variables, order - 2)
    out = polynomials.new_zeros(len(polynomials), len(rest))
    for variable in range(num_variables):
        pair = rest.new_full((len(rest), 2), variable)
        table = torch.cat([rest, pair], dim=1).sort(dim=1).values
        out += polynomials[:, monomial_index(table)] / basis_norm(table)
    return out * basis_norm(rest)


def basis_norm(
    table: Int[Tensor, "monomials order"],
) -> Float64[Tensor, " monomials"]:
    """Square root of the number of distinct orderings, n! / M!.

    The factor between a monomial and the basis polynomial that it belongs to.
    """
    order = table.shape[1]
    count = torch.full((len(table),), math.factorial(order), dtype=torch.float64)
    run = torch.ones(len(table), dtype=torch.float64)
    for k in range(1, order):
        same = table[:, k] == table[:, k - 1]
        run = torch.where(same, run + 1, 1.0)
        count /= run
    return count.sqrt()
