"""The matrix product of the literature: its couplings, for comparison only."""

import torch
from jaxtyping import Float64
from torch import Tensor

from equipot.bench.couplings import Parameters, triples
from equipot.bench.expressivity import MOST_CHANNELS, Expressivity, examine
from equipot.so3 import wigner_3j
from equipot.tensor_products import Path


def matrix_factor(path: Path, spin: int) -> float:
    r"""Ratio of the product of matrices to the Wigner 3j symbol.

    Degree l stands for the matrices :math:`A^l_m = C^{j l j}_{\cdot m \cdot}` of
    2j + 1 rows, and the product of two of them has components

    .. math:: \mathrm{tr}(A^{l_1}_i A^{l_2}_j A^{l_3 T}_k) = t \, C^{l_1 l_2 l_3}_{ijk},
              \qquad |t| = \left| \left\{ \begin{matrix} l_1 & l_2 & l_3 \\ j & j & j
              \end{matrix} \right\} \right|.

    Args:
        path: The three degrees, at most 2j each.
        spin: The integer j.

    Source:
        O. Unke, H. Maennel, "E3x", arXiv 2401.07595 (fused tensor product); the 6j
        symbol is that of the recoupling of three spins.
    """
    embedded = [wigner_3j(spin, degree, spin) for degree in path]
    trace = torch.einsum("aib,bjc,akc->ijk", *embedded)
    return float((trace * wigner_3j(*path)).sum())


def matrix_expressivity(lmax: int, *, seed: int = 0) -> Expressivity:
    """Expressivity of the product of matrices that hold all degrees up to `lmax`.

    Linear layers give each degree of each operand a weight of its own. The spin is
    `lmax`, so that the product of two matrices holds every degree that can arise.

    Args:
        lmax: Highest degree of both operands and of the product.
        seed: Of the parameters at which it is examined.
    """
    allowed = triples(lmax, lmax, lmax)
    factors = torch.tensor(
        [matrix_factor(path, lmax) for path in allowed], dtype=torch.float64
    )
    l_in, l_filter, l_out = (list(degrees) for degrees in zip(*allowed, strict=True))

    def coefficients(parameters: Parameters) -> Float64[Tensor, "triples channels"]:
        a, b, c = parameters
        return factors[:, None] * a[l_in] * b[l_filter] * c[l_out]

    generator = torch.Generator().manual_seed(seed)
    parameters = Parameters(
        *(
            torch.randn(
                lmax + 1, MOST_CHANNELS, generator=generator, dtype=torch.float64
            )
            for _ in range(3)
        )
    )
    return examine(coefficients, parameters, allowed)
