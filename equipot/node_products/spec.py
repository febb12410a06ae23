"""Specification of node products, the same for every backend."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from equipot.node_products.counting import Irrep, natural, num_couplings
from equipot.so3 import num_components

Weighting = Literal["per_path", "per_degree"]
Symmetry = Literal["O(3)", "SO(3)"]


class Block(NamedTuple):
    """Couplings of equally many factors to one irreducible representation."""

    order: int
    """Number of factors."""
    irrep: Irrep
    num_couplings: int


@dataclass(frozen=True)
class NodeProductSpec:
    r"""Channelwise polynomial of a node's features: products of 1 to nu factors.

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
    degree of each factor and of each result. Of the weights v, those of degrees above
    ``n * lmax_in`` have no effect.

    The constants :math:`\alpha` are such that for independent standard normal features
    and weights every component of the result has unit second moment (zero, where there
    is no coupling at all), to which all orders contribute equally, and so do all
    couplings of one order (`scales`).

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
    """Whether weights belong to couplings or to degrees."""
    symmetry: Symmetry = "O(3)"
    """"O(3)" keeps the parity ``(-1)**l`` of degree l and commutes with reflections."""

    def __post_init__(self) -> None:
        """Refuse what no backend could compute."""
        for name, least in (("lmax_in", 0), ("lmax_out", 0), ("order", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} must be at least {least}, got {getattr(self, name)}"
                )
        if self.weighting == "per_degree" and self.symmetry == "SO(3)":
            raise ValueError(
                "weighting='per_degree' is a product of functions on the sphere, which "
                "has no couplings that break reflections; choose symmetry='O(3)'"
            )

    @property
    def orders(self) -> range:
        """Numbers of factors of the products that are summed."""
        return range(1, self.order + 1)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Couplings in the order of weights: by degree, then by number of factors."""
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
        """Weights per node and channel."""
        if self.weighting == "per_path":
            return sum(block.num_couplings for block in self.blocks)
        return sum(self.weights_of_order(order) for order in self.orders)

    @property
    def num_outputs(self) -> int:
        """Components of the result."""
        return num_components(self.lmax_out)

    def weights_of_order(self, order: int) -> int:
        """Weights per degree of one product: of its factors, then of its result."""
        return order * (self.lmax_in + 1) + self.lmax_out + 1

    def _irreps(self, degree: int) -> tuple[Irrep, ...]:
        irrep = natural(degree)
        if self.symmetry == "O(3)":
            return (irrep,)
        return (irrep, Irrep(degree, -irrep.parity))
