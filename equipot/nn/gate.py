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
    """SiLU for scalars; SiLU of further scalars multiplies the other features.

    Args:
        channels: Channels of the result; `with_gates` are those of the argument.
        gain: Factor of SiLU.
        odd_gain: Factor of the hyperbolic tangent, the nonlinearity of the last
            features of the list; None if these are not scalars that change sign under
            inversion.

    Source:
        S. Batzner et al., Nat. Commun. 13, 2453 (2022), and the programs that followed:
        gates are not logistic functions.
    """

    def __init__(
        self, channels: Sequence[int], gain: float, odd_gain: float | None = None
    ) -> None:
        super().__init__()
        self.gated = list(channels if odd_gain is None else channels[:-1])
        self.gain = gain
        self.odd_gain = odd_gain

    def forward(self, x: DegreeFeatures) -> DegreeFeatures:
        """Apply the gate; gates follow the scalars, in the order of the features."""
        scalars, *gates = (silu(x[0]) * self.gain).split(self.gated, dim=2)
        gated = [a * b for a, b in zip(x[1:], gates, strict=False)]
        if self.odd_gain is None:
            return [scalars, *gated]
        return [scalars, *gated, torch.tanh(x[-1]) * self.odd_gain]


def with_gates(
    channels: Sequence[int], *, odd_scalars: bool = False
) -> tuple[int, ...]:
    """Channels with a further scalar for each channel of the other features.

    Args:
        channels: Of the result of a gate.
        odd_scalars: Whether the last ones are those of scalars, which have no gates.
    """
    gated = channels[:-1] if odd_scalars else channels
    return (sum(gated), *channels[1:])
