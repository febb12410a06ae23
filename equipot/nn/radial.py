"""Radial functions: Bessel basis, polynomial envelope, and radial MLP."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.autodiff.activation import silu
from equipot.constants import Constant


@final
class BesselBasis(nn.Module):
    r"""Spherical Bessel functions of order zero that vanish at the cutoff.

    .. math:: b_n(r) = \sqrt{\frac{2}{r_c}} \, \frac{\sin(n \pi r / r_c)}{r}

    Source:
        J. Gasteiger, J. Groß, S. Günnemann, ICLR 2020, eq. 7.
    """

    def __init__(self, cutoff: float, num_basis: int) -> None:
        super().__init__()
        self._norm = math.sqrt(2 / cutoff)
        order = torch.arange(1, num_basis + 1, dtype=torch.float64, device="cpu")
        self._wave_numbers = Constant(order * math.pi / cutoff)

    def forward(
        self, lengths: Float[Tensor, "edges 1"]
    ) -> Float[Tensor, "edges num_basis"]:
        """Values at positive lengths in Å."""
        return torch.sin(lengths * self._wave_numbers.like(lengths)) * (
            self._norm / lengths
        )

    def at_zero(self, like: Tensor) -> Float[Tensor, "1 num_basis"]:
        """Values at length zero, with the precision and device of a given tensor."""
        return self._norm * self._wave_numbers.like(like)[None]


def polynomial_envelope(
    x: Float[Tensor, "edges 1"], power: int
) -> Float[Tensor, "edges 1"]:
    r"""Polynomial envelope that decreases from 1 at x = 0 to 0 at x = 1, and 0 beyond.

    .. math:: u(x) = 1 - \tfrac{(p+1)(p+2)}{2} x^p + p (p+2) x^{p+1}
                       - \tfrac{p (p+1)}{2} x^{p+2}

    Its first two derivatives vanish at 1, so forces and Hessians are continuous.

    Args:
        x: Length divided by the cutoff.
        power: Order p; derivatives up to order p - 1 vanish at zero.

    Source:
        J. Gasteiger, J. Groß, S. Günnemann, ICLR 2020, eq. 8.
    """
    p = power
    x = x.clamp(max=1.0)
    return 1 + x**p * (
        -(p + 1) * (p + 2) / 2 + x * (p * (p + 2) - x * (p * (p + 1) / 2))
    )


@final
class RadialMLP(nn.Module):
    """MLP from radial basis functions to tensor-product weights.

    The envelope multiplies the last hidden layer, and the last layer has no bias, so
    all weights vanish smoothly at the cutoff. An envelope on the input only would not
    make them vanish.
    """

    def __init__(self, num_basis: int, hidden: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        widths = [num_basis, *hidden]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.output = nn.Linear(widths[-1], num_outputs, bias=False)

    def forward(
        self,
        basis: Float[Tensor, "edges num_basis"],
        envelope: Float[Tensor, "edges 1"],
        activation: Callable[[Tensor], Tensor] = silu,
    ) -> Float[Tensor, "edges num_outputs"]:
        """Evaluate on all edges.

        Args:
            basis: Radial basis functions of each edge.
            envelope: Envelope of each edge, which vanishes at the cutoff.
            activation: Implementation of SiLU; by default
                `equipot.autodiff.activation.silu`.
        """
        h = basis
        for layer in self.hidden:
            h = activation(layer(h))
        return self.output(h * envelope)
