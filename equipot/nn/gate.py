"""Gate: an equivariant nonlinearity."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.autodiff.activation import silu
from equipot.constants import Constant
from equipot.nn.degrees import DegreeFeatures
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


@final
class ScalarGate(nn.Module):
    """SiLU for scalars; SiLU of further scalars multiplies the other degrees.

    Args:
        channels: Channels of each degree of the result; `with_gates` are those of the
            argument.
        gain: Factor of SiLU.

    Source:
        S. Batzner et al., Nat. Commun. 13, 2453 (2022), and the programs that followed:
        gates are not logistic functions.
    """

    def __init__(self, channels: Sequence[int], gain: float) -> None:
        super().__init__()
        self._channels = list(channels)
        self._gain = gain

    def forward(self, x: DegreeFeatures) -> DegreeFeatures:
        """Apply the gate; gates follow the scalars, those of degree 1 first."""
        scalars, *gates = (silu(x[0]) * self._gain).split(self._channels, dim=2)
        return [scalars, *(a * b for a, b in zip(x[1:], gates, strict=True))]


def with_gates(channels: Sequence[int]) -> tuple[int, ...]:
    """Channels with a further scalar for each channel of the degrees above 0."""
    return (sum(channels), *channels[1:])
