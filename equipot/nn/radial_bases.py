"""Further functions of the length of an edge, beside those of Bessel."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.constants import stored_constant


@final
class GaussianBasis(nn.Module):
    r"""Gaussians on a grid from zero to the cutoff, as wide as its spacing.

    .. math:: b_n(r) = \exp\left( - \frac{(r - c_n)^2}{2 w^2} \right), \qquad
              c_n = n w, \qquad w = \frac{r_c}{N - 1}

    Centers c and the factor of the square are weights that are not trained.

    Args:
        cutoff: Radius r_c in Å.
        num_basis: Number of functions N, at least two.

    Raises:
        ValueError: If there are fewer than two.
    """

    def __init__(self, cutoff: float, num_basis: int) -> None:
        super().__init__()
        if num_basis < 2:
            raise ValueError(
                f"Gaussians need num_basis of at least 2, got {num_basis}: their width "
                "is the spacing of their centers"
            )
        width = cutoff / (num_basis - 1)
        self.centers = stored_constant([n * width for n in range(num_basis)])
        self.exponent = stored_constant(-0.5 / width**2)

    def forward(
        self, lengths: Float[Tensor, "edges 1"]
    ) -> Float[Tensor, "edges num_basis"]:
        """Values at lengths in Å."""
        return torch.exp(self.exponent * (lengths - self.centers) ** 2)


@final
class ChebyshevBasis(nn.Module):
    r"""Chebyshev polynomials of the first kind :math:`T_1` to :math:`T_N`.

    They oscillate between -1 and 1 where their argument does: for lengths that were
    mapped to this interval before.

    Args:
        num_basis: Number of polynomials N.
    """

    def __init__(self, num_basis: int) -> None:
        super().__init__()
        self.num_basis = num_basis

    def forward(
        self, lengths: Float[Tensor, "edges 1"]
    ) -> Float[Tensor, "edges num_basis"]:
        """Values at numbers without unit."""
        values = [torch.ones_like(lengths), lengths]
        while len(values) <= self.num_basis:
            values.append(2 * lengths * values[-1] - values[-2])
        return torch.cat(values[1:], dim=1)
