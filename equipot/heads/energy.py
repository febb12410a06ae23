"""Energies of atoms from their features."""

from collections.abc import Sequence
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn


@final
class Absolute(nn.Module):
    """Absolute value."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Apply to every number."""
        return torch.abs(x)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "abs": Absolute,
}
"""Nonlinearities by the name that configurations use."""


@final
class EnergyHead(nn.Module):
    """Linear readouts of the scalars of every layer but the last, and an MLP on those.

    The output is dimensionless and of order one; the potential scales it.

    Args:
        channels: Number of scalars of an atom after each layer.
        hidden: Hidden width of the MLP; None for a linear readout of the last layer.
        every_layer: Whether layers before the last one are read, too.
        activation: Nonlinearity of the MLP.
    """

    def __init__(
        self,
        channels: Sequence[int],
        hidden: int | None,
        *,
        every_layer: bool = True,
        activation: Literal["silu", "tanh", "abs"] = "silu",
    ) -> None:
        super().__init__()
        *early, last = channels
        self.early = nn.ModuleList(
            nn.Linear(n, 1, bias=False) for n in early if every_layer
        )
        self.last: nn.Module = nn.Linear(last, 1, bias=False)
        if hidden is not None:
            self.last = nn.Sequential(
                nn.Linear(last, hidden),
                ACTIVATIONS[activation](),
                nn.Linear(hidden, 1, bias=False),
            )

    def forward(
        self, layers: Sequence[Float[Tensor, "nodes _sph _channels"]]
    ) -> Float[Tensor, " nodes"]:
        """One number per atom from the features after each layer."""
        out: Tensor = self.last(layers[-1][:, 0])
        # without readouts of other layers there is nothing to add
        for readout, features in zip(self.early, layers, strict=False):
            out = out + readout(features[:, 0])
        return out[:, 0]
