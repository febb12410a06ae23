"""The gate: a nonlinearity that commutes with rotations."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.so3 import degree_of_component

SILU_GAIN = 1.6765
"""Restores unit second moment after SiLU of a standard normal variable."""
SIGMOID_GAIN = 1.8467
"""The same for the logistic function."""


@final
class Gate(nn.Module):
    """SiLU for scalars; a logistic function of them multiplies the other degrees.

    Source:
        M. Weiler et al., NeurIPS 2018, section 4.3.
    """

    def __init__(self, lmax: int, channels: int) -> None:
        super().__init__()
        self.lmax = lmax
        self.channels = channels
        self._degree = (degree_of_component(lmax)[1:] - 1).tolist()
        if lmax > 0:
            self.linear = nn.Linear(channels, lmax * channels)

    def forward(
        self, x: Float[Tensor, "nodes sph channels"]
    ) -> Float[Tensor, "nodes sph channels"]:
        """Apply the gate to features of degrees 0 to `lmax`."""
        scalars = SILU_GAIN * nn.functional.silu(x[:, :1])
        if self.lmax == 0:
            return scalars
        logits = self.linear(x[:, 0]).unflatten(1, (-1, self.channels))
        factors = SIGMOID_GAIN * torch.sigmoid(logits)
        return torch.cat([scalars, x[:, 1:] * factors[:, self._degree]], dim=1)
