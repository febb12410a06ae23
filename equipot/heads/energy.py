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
    """Linear readouts of the scalars of every layer but the last, and an MLP on those.

    The output is dimensionless and of order one; the potential scales it.

    Args:
        channels: Number of scalars of an atom after each layer.
        hidden: Hidden width of the MLP; None for a linear readout of the last layer.
        depth: Number of hidden layers of the MLP.
        gated: Whether a logistic function of a second MLP multiplies the result.
        every_layer: Whether layers before the last one are read, too.
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
        kind = ACTIVATIONS[activation]
        self.last = _readout(last, hidden, depth, kind, gated=gated)

    def forward(
        self, layers: Sequence[Float[Tensor, "nodes _sph _channels"]]
    ) -> Float[Tensor, " nodes"]:
        """One number per atom from the features after each layer."""
        out: Tensor = self.last(layers[-1][:, 0])
        # without readouts of other layers there is nothing to add
        for readout, features in zip(self.early, layers, strict=False):
            out = out + readout(features[:, 0])
        return out[:, 0]


def _readout(
    channels: int,
    hidden: int | None,
    depth: int,
    activation: type[nn.Module],
    *,
    gated: bool,
) -> nn.Module:
    """Readout of the last layer. Its output has no bias where that is a constant."""
    if hidden is None and gated:
        raise ValueError(
            "a linear readout cannot be gated: set readout_hidden, or readout_gated to "
            "false"
        )
    if hidden is None:
        return nn.Linear(channels, 1, bias=False)
    widths = [channels, *[hidden] * depth, 1]
    if gated:
        return GatedMLP(widths, activation)
    return mlp(widths, activation, bias=False)
