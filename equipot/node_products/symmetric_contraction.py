"""Symmetric contraction, by pairs of couplings of fewer factors."""

from itertools import groupby
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.constants import Constant
from equipot.node_products.counting import Irrep, natural
from equipot.node_products.couplings import split_order, symmetric_couplings
from equipot.node_products.scales import coupling_scales
from equipot.node_products.spec import NodeProductSpec
from equipot.so3 import wigner_3j


class Power(NamedTuple):
    """Number of factors and irreducible representation of couplings."""

    order: int
    irrep: Irrep


Values = dict[Power, tuple[Float[Tensor, "nodes _ channels"], ...]]
"""Values of the basis couplings of some powers.

Each coupling is a separate tensor, since the gradient of a slice would have the size of
the full tensor.
"""


@final
class SymmetricContraction:
    """Weighted sum of all symmetric couplings of 1 to `spec.order` features.

    Couplings of up to half of the factors are evaluated individually. Couplings of more
    factors are evaluated as weighted sums of pairs, whose weights are combined before
    coupling: the largest intermediate is the outer product of two irreducible
    representations.
    """

    def __init__(self, spec: NodeProductSpec) -> None:
        self._spec = spec
        self._scales = [Constant(scales) for scales in coupling_scales(spec)]
        self._sums = [
            _PairSum(spec.lmax_in, Power(block.order, block.irrep))
            if block.order > 1
            else None
            for block in spec.blocks
        ]
        self._lower = _operands(spec.lmax_in, [s for s in self._sums if s is not None])

    def __call__(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        weights: Float[Tensor, "nodes num_weights channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Evaluate the contraction with weights in the order of `spec.blocks`."""
        spec = self._spec
        values = self._evaluate_lower(x)
        out = [
            x.new_zeros(len(x), 2 * degree + 1, x.shape[2])
            for degree in range(spec.lmax_out + 1)
        ]
        sizes = [block.num_couplings for block in spec.blocks]
        for block, pair_sum, scales, w in zip(
            spec.blocks, self._sums, self._scales, weights.split(sizes, 1), strict=True
        ):
            degree = block.irrep.degree
            scaled = scales.like(w)[:, None] * w
            if pair_sum is None:
                (features,) = values[Power(1, block.irrep)]
                out[degree] = out[degree] + scaled * features
            else:
                out[degree] = out[degree] + pair_sum.weighted(values, scaled)
        return torch.cat(out, dim=1)

    def _evaluate_lower(self, x: Float[Tensor, "nodes sph_in channels"]) -> Values:
        """Values of the operands of all pairs, by increasing number of factors."""
        degrees = range(self._spec.lmax_in + 1)
        split = x.split([2 * degree + 1 for degree in degrees], dim=1)
        values: Values = {Power(1, natural(n)): (split[n],) for n in degrees}
        for power, pair_sum in self._lower.items():
            values[power] = pair_sum.each(values)
        return values


class _PairIndex(NamedTuple):
    """Indices of a pair of basis couplings of two irreps."""

    right: int
    left: int
    position: int
    """Index of the pair among all pairs of the sum."""


class _Term(NamedTuple):
    """All pairs of two given irreps."""

    left: Power
    right: Power
    coupling: Constant
    """Map from products of components to components of the result."""
    pairs: list[_PairIndex]


@final
class _PairSum:
    """Basis couplings of one power as linear combinations of coupled pairs."""

    def __init__(self, lmax_in: int, power: Power) -> None:
        basis = symmetric_couplings(lmax_in, *power)
        self._coefficients = Constant(basis.coefficients)
        self.terms = []
        orders = split_order(power.order)
        numbered = sorted((pair, n) for n, pair in enumerate(basis.pairs))
        for (left, right), group in groupby(numbered, lambda item: item[0][:2]):
            coupling = wigner_3j(left.degree, right.degree, power.irrep.degree)
            self.terms.append(
                _Term(
                    Power(orders[0], left),
                    Power(orders[1], right),
                    Constant(coupling.flatten(0, 1).T),
                    sorted(
                        _PairIndex(pair.right_index, pair.left_index, n)
                        for pair, n in group
                    ),
                )
            )

    def each(self, values: Values) -> tuple[Float[Tensor, "nodes _ channels"], ...]:
        """Values of all basis couplings."""
        by_position = {}
        for term in self.terms:
            for pair in term.pairs:
                left = values[term.left][pair.left]
                right = values[term.right][pair.right]
                outer = (left[:, :, None] * right[:, None]).flatten(1, 2)
                by_position[pair.position] = term.coupling.like(outer) @ outer
        pairs = torch.stack([by_position[n] for n in sorted(by_position)], dim=1)
        coefficients = self._coefficients.like(pairs)
        return torch.einsum("qp,npkc->qnkc", coefficients, pairs).unbind()

    def weighted(
        self, values: Values, weights: Float[Tensor, "nodes couplings channels"]
    ) -> Float[Tensor, "nodes components channels"]:
        """Weighted sum of the basis couplings."""
        of_pairs = (self._coefficients.like(weights).T @ weights).unbind(1)
        total = zero = weights.new_zeros(())
        for term in self.terms:
            left, right = values[term.left], values[term.right]
            outer = zero
            for index, group in groupby(term.pairs, lambda pair: pair.right):
                partner = zero
                for pair in group:
                    w = of_pairs[pair.position][:, None]
                    partner = torch.addcmul(partner, w, left[pair.left])
                outer = torch.addcmul(outer, partner[:, :, None], right[index][:, None])
            total = total + term.coupling.like(outer) @ outer.flatten(1, 2)
        return total


def _operands(lmax_in: int, sums: list[_PairSum]) -> dict[Power, _PairSum]:
    """Operands that are evaluated first, by increasing number of factors."""
    found: dict[Power, _PairSum] = {}
    pending = sums.copy()
    while pending:
        for term in pending.pop().terms:
            for power in (term.left, term.right):
                if power.order > 1 and power not in found:
                    found[power] = _PairSum(lmax_in, power)
                    pending.append(found[power])
    return dict(sorted(found.items()))
