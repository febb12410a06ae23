"""Specification of node products, independent of the backend."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from equipot.node_products.counting import Irrep, natural, num_couplings
from equipot.so3 import num_components

Weighting = Literal["per_path", "per_degree"]
Symmetry = Literal["O(3)", "SO(3)"]


class Block(NamedTuple):
    """Couplings of one number of factors to one irreducible representation."""

    order: int
    """Number of factors."""
    irrep: Irrep
    num_couplings: int


@dataclass(frozen=True)
class NodeProductSpec:
    r"""Channelwise polynomial of node features: products of 1 to nu factors.

    With features :math:`x` of a node and a channel (degrees 0 to `lmax_in`, natural
    parity) the result of degree l is

    ``weighting="per_path"``: the symmetric contraction of the atomic cluster expansion,

    .. math:: z^l_k = \sum_{n=1}^\nu \sum_{q} \alpha_{nlq} \, w_{nlq}
              \sum_{i_1 \dots i_n} U^{nlq}_{k, i_1 \dots i_n} x_{i_1} \cdots x_{i_n}

    with one weight per channel for each coupling q. The couplings :math:`U^{nlq}` are
    an orthonormal basis of *all* equivariant maps to degree l that are symmetric under
    permutations of their n arguments (`symmetric_couplings`).

    ``weighting="per_degree"``: products of functions on the sphere,

    .. math:: f_{nk}(\omega) = \sum_l w_{nkl} \, x^l \cdot Y^l(\omega), \qquad
              z^l = \sum_{n=1}^\nu \alpha_{nl} \, v_{nl}
              \int Y^l(\omega) \prod_{k=1}^n f_{nk}(\omega) \, d\omega

    with harmonics Y of unit norm on the sphere and, per channel, one weight for each
    degree of each factor and of each result. Weights v of degrees above ``n * lmax_in``
    have no effect.

    The constants :math:`\alpha` normalize the second moment of every component of the
    result to one for independent standard normal features and weights (zero without any
    coupling). All orders contribute equally to it, and so do all couplings of one order
    (`scales`).

    Source:
        Per path: R. Drautz, Phys. Rev. B 99, 014104 (2019); I. Batatia et al.,
        NeurIPS 2022 (MACE), eqs. 10 and 11. Per degree: S. Luo, T. Chen,
        A. Krishnapriyan, ICLR 2024 (Gaunt tensor products of many operands).
    """

    lmax_in: int
    """Highest degree of the features."""
    lmax_out: int
    """Highest degree of the result."""
    order: int
    """Highest number of factors, nu."""
    weighting: Weighting = "per_path"
    """Whether weights are per coupling or per degree."""
    symmetry: Symmetry = "O(3)"
    """"O(3)" conserves the parity ``(-1)**l`` and is equivariant under reflections."""

    def __post_init__(self) -> None:
        """Raise for specifications that no backend supports."""
        for name, least in (("lmax_in", 0), ("lmax_out", 0), ("order", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} must be at least {least}, got {getattr(self, name)}"
                )
        if self.weighting == "per_degree" and self.symmetry == "SO(3)":
            raise ValueError(
                "weighting='per_degree' is a product of functions on the sphere, which "
                "is always equivariant under reflections; choose symmetry='O(3)'"
            )

    @property
    def orders(self) -> range:
        """Numbers of factors of the products that are summed."""
        return range(1, self.order + 1)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Coupling blocks in the order of weights: by degree, then by order."""
        candidates = (
            (order, irrep)
            for degree in range(self.lmax_out + 1)
            for order in self.orders
            for irrep in self._irreps(degree)
        )
        counted = (
            Block(order, irrep, num_couplings(self.lmax_in, order, irrep))
            for order, irrep in candidates
        )
        return tuple(block for block in counted if block.num_couplings > 0)

    @property
    def num_weights(self) -> int:
        """Number of weights per node and channel."""
        if self.weighting == "per_path":
            return sum(block.num_couplings for block in self.blocks)
        return sum(self.weights_of_order(order) for order in self.orders)

    @property
    def num_outputs(self) -> int:
        """Number of components of the result."""
        return num_components(self.lmax_out)

    def weights_of_order(self, order: int) -> int:
        """Number of weights per degree of one product: factors, then result."""
        return order * (self.lmax_in + 1) + self.lmax_out + 1

    def _irreps(self, degree: int) -> tuple[Irrep, ...]:
        irrep = natural(degree)
        if self.symmetry == "O(3)":
            return (irrep,)
        return (irrep, Irrep(degree, -irrep.parity))
