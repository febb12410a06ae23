"""Specification of tensor products, independent of the backend."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from equipot.so3 import num_components, wigner_3j

Weighting = Literal["per_path", "per_degree"]
Symmetry = Literal["O(3)", "SO(3)"]
Accumulate = Literal["sum", "concat"]


class Path(NamedTuple):
    """One coupling path: degrees of features, filter and messages."""

    l_in: int
    l_filter: int
    l_out: int


@dataclass(frozen=True)
class TensorProductSpec:
    r"""Channelwise tensor product of node features with the harmonics of an edge.

    With features :math:`x`, harmonics :math:`Y` of the direction :math:`n` of an edge
    and couplings :math:`C` (Wigner 3j), the message of a path and a channel is

    .. math:: z^{l_3}_{kc} = \alpha_p \, W_{pc}
              \sum_{ij} C^{l_1 l_2 l_3}_{ijk} \, x^{l_1}_{ic} \, Y^{l_2}_j(n)

    ``weighting="per_path"``: :math:`W_{pc} = w_{pc}`, one weight per path and channel;
    :math:`\alpha_p = \sqrt{(2 l_3 + 1) / n_{l_3}}` with :math:`n_{l_3}` the paths that
    are summed in a component, so that messages of unit-variance operands have unit
    variance ("component" normalization).

    ``weighting="per_degree"``: :math:`W_{pc} = a_{l_1 c} b_{l_2 c} c_{l_3 c}`, one
    weight per degree of each operand, and :math:`\alpha_p` is proportional to the Gaunt
    coefficient: the product of functions on the sphere. Weights are ordered a, b, c.
    With ``symmetry="SO(3)"`` a second set follows for the paths of odd
    :math:`l_1 + l_2 + l_3`, where the product is the bracket of the functions; its
    weights of degree 0 multiply nothing.

    Source:
        Gaunt coefficients: S. Luo, T. Chen, A. Krishnapriyan, ICLR 2024, eq. 4.
        Couplings that they lack, from products of vector fields: Y. Xie et al.,
        arXiv:2602.21466.
    """

    lmax_in: int
    """Highest degree of node features."""
    lmax_filter: int
    """Highest degree of edge harmonics."""
    lmax_out: int
    """Highest degree of messages."""
    weighting: Weighting = "per_path"
    """Whether weights are per path or per degree."""
    symmetry: Symmetry = "O(3)"
    """"O(3)" couples even l1 + l2 + l3 only and is equivariant under reflections."""
    accumulate: Accumulate = "sum"
    """Whether paths to the same degree are summed or concatenated."""

    def __post_init__(self) -> None:
        """Raise for specifications that no backend supports."""
        for name in ("lmax_in", "lmax_filter", "lmax_out"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name} must not be negative, got {getattr(self, name)}"
                )

    @property
    def paths(self) -> tuple[Path, ...]:
        """All paths allowed by symmetry, sorted by degree of the messages."""
        return tuple(
            Path(l1, l2, l3)
            for l3 in range(self.lmax_out + 1)
            for l1 in range(self.lmax_in + 1)
            for l2 in range(self.lmax_filter + 1)
            if abs(l1 - l2) <= l3 <= l1 + l2
            and (self.symmetry == "SO(3)" or (l1 + l2 + l3) % 2 == 0)
        )

    @property
    def num_weights(self) -> int:
        """Number of weights per edge and channel."""
        if self.weighting == "per_path":
            return len(self.paths)
        sets = 1 if self.symmetry == "O(3)" else 2
        return sets * (self.lmax_in + self.lmax_filter + self.lmax_out + 3)

    @property
    def num_outputs(self) -> int:
        """Number of components of a message."""
        if self.accumulate == "sum":
            return num_components(self.lmax_out)
        return sum(2 * path.l_out + 1 for path in self.paths)

    def path_coefficients(self) -> tuple[float, ...]:
        r"""Constant :math:`\alpha_p` of every path."""
        factors, scales = self.path_factors(), self.path_scales()
        return tuple(f * s for f, s in zip(factors, scales, strict=True))

    def path_factors(self) -> tuple[float, ...]:
        r"""Unnormalized :math:`\alpha_p`: 1 per path, or the factors of functions.

        The gradients of harmonics in a bracket are normalized like the harmonics, so
        that paths of odd and even :math:`l_1 + l_2 + l_3` have similar scales: per
        path, odd ones have 0.2 to 1.5 times the variance up to `lmax` 6.
        """
        if self.weighting == "per_path":
            return (1.0,) * len(self.paths)
        return tuple(
            bracket_factor(path) if sum(path) % 2 else gaunt_factor(path)
            for path in self.paths
        )

    def path_scales(self) -> tuple[float, ...]:
        """Normalization of every path, or of the sum of paths to its output degree."""
        factors = self.path_factors()
        if self.accumulate == "concat":
            variances = [factor**2 for factor in factors]
        else:
            variances = [
                sum(
                    f**2
                    for f, other in zip(factors, self.paths, strict=True)
                    if other.l_out == path.l_out
                )
                for path in self.paths
            ]
        return tuple(
            math.sqrt((2 * path.l_out + 1) / variance)
            for path, variance in zip(self.paths, variances, strict=True)
        )


def gaunt_factor(path: Path) -> float:
    r"""Ratio of the Gaunt tensor of three harmonics to the Wigner 3j symbol.

    .. math:: g = \sqrt{\frac{(2l_1+1)(2l_2+1)(2l_3+1)}{4\pi}} \; C^{l_1 l_2 l_3}_{000}

    for harmonics of unit norm on the sphere.
    """
    l1, l2, l3 = path
    degeneracy = (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)
    at_pole = float(wigner_3j(l1, l2, l3)[l1, l2, l3])
    return math.sqrt(degeneracy / (4 * math.pi)) * at_pole


def bracket_factor(path: Path) -> float:
    r"""Ratio of the bracket of harmonics to the Wigner 3j symbol.

    .. math:: \int \{Y^{l_1}_i, Y^{l_2}_j\} \, Y^{l_3}_k \, d\omega
              = b \, C^{l_1 l_2 l_3}_{ijk}, \qquad
              \{f, g\} = \frac{\omega \cdot (\nabla f \times \nabla g)}
                           {\sqrt{l_1 (l_1 + 1) \, l_2 (l_2 + 1)}}

    for harmonics of unit norm on the sphere; the root gives their gradients unit norm.
    At the pole only harmonics of order 1 and -1 have a gradient, hence

    .. math:: b = \sqrt{\frac{(2l_1+1)(2l_2+1)(2l_3+1)}{4\pi}} \;
                  C^{l_1 l_2 l_3}_{1,-1,0}

    It vanishes if :math:`l_1 + l_2 + l_3` is even.
    """
    l1, l2, l3 = path
    if l1 == 0 or l2 == 0:
        return 0.0
    degeneracy = (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)
    near_pole = float(wigner_3j(l1, l2, l3)[l1 + 1, l2 - 1, l3])
    return math.sqrt(degeneracy / (4 * math.pi)) * near_pole
