"""Energies of atoms from their features."""

from collections.abc import Sequence
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.nn.gated_mlp import GatedMLP, mlp


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
    """Atomic energies: linear readouts of all layers but the last, and an MLP.

    The MLP reads out the last layer. The output is dimensionless and of order one; the
    potential scales it.

    Args:
        channels: Number of scalars per atom after each layer.
        hidden: Hidden width of the MLP; None for a linear readout of the last layer.
        depth: Number of hidden layers of the MLP.
        gated: Whether a logistic function of a second MLP multiplies the result.
        every_layer: Whether layers before the last one have readouts, too.
        activation: Nonlinearity of the MLP.

    Raises:
        ValueError: If a linear readout is to be gated.
    """

    def __init__(
        self,
        channels: Sequence[int],
        hidden: int | None,
        *,
        depth: int = 1,
        gated: bool = False,
        every_layer: bool = True,
        activation: Literal["silu", "tanh", "abs"] = "silu",
    ) -> None:
        super().__init__()
        *early, last = channels
        self.early = nn.ModuleList(
            nn.Linear(n, 1, bias=False) for n in early if every_layer
        )
        self.last = _readout(last, hidden, depth, gated=gated, activation=activation)

    def forward(
        self, layers: Sequence[Float[Tensor, "nodes _sph _channels"]]
    ) -> Float[Tensor, " nodes"]:
        """Dimensionless atomic energies from the features after each layer."""
        out: Tensor = self.last(layers[-1][:, 0])
        # Without readouts of earlier layers the loop is empty.
        for readout, features in zip(self.early, layers, strict=False):
            out = out + readout(features[:, 0])
        return out[:, 0]


def _readout(
    channels: int,
    hidden: int | None,
    depth: int,
    *,
    gated: bool,
    activation: Literal["silu", "tanh", "abs"],
) -> nn.Module:
    """Readout of the last layer. Its output has no bias where that is a constant."""
    if hidden is None and gated:
        raise ValueError(
            "a linear readout cannot be gated: set readout_hidden, or readout_gated to "
            "false"
        )
    if hidden is None:
        return nn.Linear(channels, 1, bias=False)
    widths, nonlinearity = [channels, *[hidden] * depth, 1], ACTIVATIONS[activation]
    if gated:
        return GatedMLP(widths, activation=nonlinearity)
    return mlp(widths, bias=False, activation=nonlinearity)
