"""Gate: an equivariant nonlinearity."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.constants import Constant
from equipot.so3 import degree_of_component

SILU_GAIN = 1.6765
"""Factor that normalizes SiLU of a standard normal variable to unit second moment."""
SIGMOID_GAIN = 1.8467
"""Factor that normalizes the logistic function of a standard normal variable."""


@final
class Gate(nn.Module):
    """SiLU for scalars; other degrees are multiplied by a logistic function of scalars.

    Source:
        M. Weiler et al., NeurIPS 2018, section 4.3.
    """

    _degree: Tensor

    def __init__(self, lmax: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self._gains = Constant([SILU_GAIN] + lmax * [SIGMOID_GAIN])
        self.register_buffer("_degree", degree_of_component(lmax), persistent=False)
        if lmax > 0:
            self.linear = nn.Linear(channels, lmax * channels)

    def forward(
        self, x: Float[Tensor, "nodes sph channels"]
    ) -> Float[Tensor, "nodes sph channels"]:
        """Apply the gate to features of degrees 0 to `lmax`."""
        scalars = x[:, :1]
        logits = scalars
        if len(self._degree) > 1:
            others = self.linear(scalars[:, 0]).unflatten(1, (-1, self.channels))
            logits = torch.cat([scalars, others], dim=1)
        # SiLU(x) is x times the logistic function of x: one factor for all degrees.
        factors = torch.sigmoid(logits) * self._gains.like(x)[:, None]
        return x * factors.index_select(1, self._degree)
