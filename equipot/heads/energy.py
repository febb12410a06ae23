"""Energies of atoms from their features."""

from collections.abc import Sequence
from typing import final

from jaxtyping import Float
from torch import Tensor, nn


@final
class EnergyHead(nn.Module):
    """A linear readout of the scalars of every layer but the last, and an MLP on those.

    The output is dimensionless and of order one; the potential scales it.
    """

    def __init__(self, num_layers: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.early = nn.ModuleList(
            nn.Linear(channels, 1, bias=False) for _ in range(num_layers - 1)
        )
        self.last = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 1, bias=False),
        )

    def forward(
        self, layers: Sequence[Float[Tensor, "nodes _sph channels"]]
    ) -> Float[Tensor, " nodes"]:
        """One number per atom from the features after each layer."""
        out = self.last(layers[-1][:, 0])
        for readout, features in zip(self.early, layers[:-1], strict=True):
            out = out + readout(features[:, 0])
        return out[:, 0]
