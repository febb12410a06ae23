r"""Symmetric couplings of equal factors: generalized Clebsch-Gordan coefficients.

A coupling of n factors is a combination of pair couplings of lower ones,

.. math:: U^{lq}(x) = \sum_{ab} R_{q,ab} \;
          C^{l_a l_b l} \big( U^a(x) \otimes U^b(x) \big),

where U^a has n/2 factors (rounded up) and U^b the others. Since all factors are equal
to x, only the symmetric part of a pair coupling contributes. The overlap matrix of
these parts is an orthogonal projector with eigenvalues 0 and 1, so no numerical
tolerance for the rank is needed; `num_couplings` gives the multiplicity of 1.
"""

from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from equipot.node_products.counting import Irrep, irreps_of_power, num_couplings
from equipot.node_products.polynomials import second_moment, symmetrize
from equipot.so3 import degree_slice, num_components, wigner_3j


class Pair(NamedTuple):
    """Two couplings of fewer factors, by index in the bases of their irreps."""

    left: Irrep
    right: Irrep
    left_index: int
    right_index: int


@dataclass(frozen=True)
class SymmetricCouplings:
    """Orthonormal basis of the couplings of n equal factors to one irrep."""

    pairs: tuple[Pair, ...]
    """Linearly independent pairs, as many as couplings."""
    coefficients: Float64[Tensor, "couplings pairs"]
    """Expansion of couplings in pairs coupled by Wigner 3j symbols; lower
    triangular."""
    second_moments: Float64[Tensor, " couplings"]
    """Mean squares of each component for standard normal features."""


def split_order(order: int) -> tuple[int, int]:
    """Number of factors of the left and the right operand of a pair."""
    return order - order // 2, order // 2


@cache
def symmetric_couplings(lmax_in: int, order: int, irrep: Irrep) -> SymmetricCouplings:
    r"""All symmetric couplings of `order` >= 2 equal features to `irrep`.

    The basis is orthonormal as tensors of n indices, in each component k of the result:

    .. math:: \sum_{i_1 \dots i_n} U^{q}_{k, i_1 \dots i_n} U^{q'}_{k', i_1 \dots i_n}
              = \delta_{qq'} \delta_{kk'}

    The choice of the basis is a convention that stored weights depend on: pairs are
    orthogonalized by a pivoted Cholesky decomposition, always taking the pair with the
    largest component orthogonal to the previous ones (the first of equal ones), with
    positive sign.

    The result is computed on first use and cached (half a second for all degrees up to
    3 and four factors) and must not be modified.

    Raises:
        ArithmeticError: If the overlap matrix of pairs is not a projector within
            rounding errors.
    """
    pairs = _all_pairs(lmax_in, order, irrep)
    norms = torch.tensor(
        [_pair_norm(order, irrep, pair) for pair in pairs], dtype=torch.float64
    )
    # By Schur's lemma, overlaps and moments are equal for all components.
    middle = slice(irrep.degree, irrep.degree + 1)
    polynomials = _pair_polynomials(lmax_in, order, irrep, pairs, middle)[:, 0]
    polynomials = polynomials / norms[:, None]
    rank = num_couplings(lmax_in, order, irrep)
    pivots, factor = _pivoted_cholesky(polynomials @ polynomials.T, rank)
    identity = torch.eye(rank, dtype=torch.float64)
    inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
    variables = num_components(lmax_in)
    return SymmetricCouplings(
        tuple(pairs[pivot] for pivot in pivots),
        inverse / norms[pivots],
        second_moment(variables, order, inverse @ polynomials[pivots]),
    )


def coupling_polynomials(
    lmax_in: int, order: int, irrep: Irrep, components: slice
) -> Float64[Tensor, "couplings components monomials"]:
    """Symmetric tensors of the basis couplings, for given components of the result."""
    if order == 1:
        identity = torch.eye(num_components(lmax_in), dtype=torch.float64)
        return identity[None, degree_slice(irrep.degree)][:, components]
    basis = symmetric_couplings(lmax_in, order, irrep)
    pairs = _pair_polynomials(lmax_in, order, irrep, basis.pairs, components)
    return torch.einsum("qp,pkm->qkm", basis.coefficients, pairs)


@cache
def _all_components(
    lmax_in: int, order: int, irrep: Irrep
) -> Float64[Tensor, "couplings components monomials"]:
    return coupling_polynomials(lmax_in, order, irrep, slice(None))


def _all_pairs(lmax_in: int, order: int, irrep: Irrep) -> tuple[Pair, ...]:
    """Distinct pairs of lower couplings that can be coupled to `irrep`."""
    left_order, right_order = split_order(order)
    return tuple(
        Pair(left, right, a, b)
        for right in irreps_of_power(lmax_in, right_order)
        for left in irreps_of_power(lmax_in, left_order)
        if _can_couple(left, right, irrep)
        for b in range(num_couplings(lmax_in, right_order, right))
        for a in range(num_couplings(lmax_in, left_order, left))
        if left_order > right_order or (left, a) <= (right, b)
    )


def _can_couple(left: Irrep, right: Irrep, irrep: Irrep) -> bool:
    return (
        abs(left.degree - right.degree) <= irrep.degree <= left.degree + right.degree
        and left.parity * right.parity == irrep.parity
    )


def _pair_norm(order: int, irrep: Irrep, pair: Pair) -> float:
    """Norm, in each component, of a pair coupling as a bilinear map.

    Pairs of different operands with equal numbers of factors count for both orders.
    """
    left_order, right_order = split_order(order)
    operands = (pair.left, pair.left_index), (pair.right, pair.right_index)
    arrangements = 2 if left_order == right_order and operands[0] != operands[1] else 1
    return ((2 * irrep.degree + 1) * arrangements) ** -0.5


def _pair_polynomials(
    lmax_in: int,
    order: int,
    irrep: Irrep,
    pairs: tuple[Pair, ...],
    components: slice,
) -> Float64[Tensor, "pairs components monomials"]:
    """Symmetric tensors of pairs coupled by Wigner 3j symbols."""
    orders = split_order(order)
    blocks = []
    for (left, right), group in groupby(pairs, key=lambda pair: pair[:2]):
        indices = [pair[2:] for pair in group]
        a, b = (list(index) for index in zip(*indices, strict=True))
        tensors = torch.einsum(
            "pim,ijk,pjn->pkmn",
            _all_components(lmax_in, orders[0], left)[a],
            wigner_3j(left.degree, right.degree, irrep.degree)[:, :, components],
            _all_components(lmax_in, orders[1], right)[b],
        )
        polynomials = symmetrize(num_components(lmax_in), orders, tensors.flatten(0, 1))
        blocks.append(polynomials.unflatten(0, tensors.shape[:2]))
    return torch.cat(blocks)


def _pivoted_cholesky(
    projector: Float64[Tensor, "pairs pairs"], rank: int
) -> tuple[list[int], Float64[Tensor, "rank rank"]]:
    """Pivot rows that span the range of a projector, and their Cholesky factor.

    The remainder after each step is a projector. Its largest diagonal element is
    therefore at least the remaining rank divided by the number of pairs, far above
    rounding errors.
    """
    deviation = (projector @ projector - projector).abs().max()
    deviation = max(deviation, (projector.trace() - rank).abs())
    if deviation > 1e-10:
        raise ArithmeticError(
            f"overlaps of pair couplings differ by {float(deviation):.1e} from a "
            f"projector of rank {rank}; expected rounding error only"
        )
    rest = projector.clone()
    pivots: list[int] = []
    columns = []
    for _ in range(rank):
        diagonal = rest.diagonal()
        # The first of equal pivots, independent of rounding errors.
        pivot = int((diagonal > diagonal.max() - 1e-9).nonzero()[0])
        column = rest[pivot] / diagonal[pivot].sqrt()
        rest = rest - torch.outer(column, column)
        pivots.append(pivot)
        columns.append(column)
    return pivots, torch.stack(columns)[:, pivots].T
