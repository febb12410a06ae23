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
    """SiLU for scalars; other degrees are multiplied by a logistic function of scalars.

    Source:
        M. Weiler et al., NeurIPS 2018, section 4.3.
    """

    def __init__(self, lmax: int) -> None:
        super().__init__()
        self.lmax = lmax
        self._degree = (degree_of_component(lmax)[1:] - 1).tolist()

    def forward(
        self,
        x: Float[Tensor, "nodes sph channels"],
        gates: Float[Tensor, "nodes lmax channels"],
    ) -> Float[Tensor, "nodes sph channels"]:
        """Apply the gate.

        Args:
            x: Features of degrees 0 to `lmax`.
            gates: One scalar per channel for each degree above zero.
        """
        scalars = SILU_GAIN * nn.functional.silu(x[:, :1])
        if self.lmax == 0:
            return scalars
        factors = SIGMOID_GAIN * torch.sigmoid(gates)
        return torch.cat([scalars, x[:, 1:] * factors[:, self._degree]], dim=1)
