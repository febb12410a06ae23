"""The density of neighbors, which messages of some models are divided by."""

from collections.abc import Callable
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.autodiff.activation import silu


@final
class Density(nn.Module):
    r"""Contribution of a neighbor to the density around an atom, between 0 and 1.

    .. math:: \rho(r) = \tanh\Big( \big( \textstyle\sum_n w_n b_n(r) \big)^2 \Big)

    Args:
        num_basis: Radial functions b.
        envelope_on: Whether the envelope multiplies the radial functions or the result.

    Source:
        The package mace-torch, as of version 0.3.7.
    """

    def __init__(
        self, num_basis: int, envelope_on: Literal["input", "output"] = "input"
    ) -> None:
        super().__init__()
        self.envelope_on = envelope_on
        self.linear = nn.Linear(num_basis, 1, bias=False)

    def forward(
        self,
        basis: Float[Tensor, "edges num_basis"],
        envelope: Float[Tensor, "edges 1"],
        activation: Callable[[Tensor], Tensor] = silu,
    ) -> Float[Tensor, "edges 1"]:
        """Contributions of all edges.

        Args:
            basis: Radial functions of each edge.
            envelope: Factor that vanishes at the cutoff.
            activation: Not used; radial MLPs have the same arguments.
        """
        if self.envelope_on == "input":
            basis = basis * envelope
        density = torch.tanh(self.linear(basis).square())
        return density if self.envelope_on == "input" else density * envelope
