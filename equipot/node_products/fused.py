"""Symmetric contraction by a compiled op that evaluates monomials."""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from equipot.constants import Constant
from equipot.node_products.base import NodeProduct, weights_of_nodes
from equipot.node_products.monomial_terms import monomial_terms
from equipot.node_products.spec import NodeProductSpec
from equipot.node_products.symmetric_contraction import SymmetricContraction
from equipot.ops import unavailable
from equipot.ops.contraction import Monomials, contract
from equipot.tensor_products.base import BackendUnavailableError


@final
class Fused(NodeProduct):
    """Sums of monomials whose coefficients are linear in the weights.

    Couplings and weights are first contracted to one coefficient for each monomial and
    component of the result, once for all nodes with the same weights. On a GPU, for
    which there is no compiled op yet, couplings are evaluated as by
    `equipot.node_products.clebsch_gordan`.

    Raises:
        BackendUnavailableError: If the compiled ops for the CPU are not available.
    """

    def __init__(self, spec: NodeProductSpec) -> None:
        super().__init__(spec)
        if (problem := unavailable(torch.device("cpu"))) is not None:
            raise BackendUnavailableError(problem)
        terms = monomial_terms(spec)
        self._coefficients = Constant(terms.of_weights)
        self._table: Monomials = terms.table
        self._without_kernel = SymmetricContraction(spec)

    @staticmethod
    def unsupported(spec: NodeProductSpec) -> str | None:
        """Reason why `spec` is not supported: weights per degree."""
        if spec.weighting != "per_path":
            return "fused needs weighting='per_path', whose results are polynomials"
        return None

    def product(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        weights: Float[Tensor, "rows num_weights channels"],
        rows: Int[Tensor, " nodes"] | None,
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Contract coefficients of the rows that occur, then evaluate monomials."""
        if x.device.type not in ("cpu", "meta"):
            return self._without_kernel(x, weights_of_nodes(weights, rows))
        if rows is None:
            present = torch.arange(len(x), device=x.device)
        else:
            used, present = rows.unique(return_inverse=True)
            weights = weights[used]
        coefficients = self._coefficients.like(weights) @ weights
        return contract(x, coefficients, present, self._table, self.spec.num_outputs)
