"""Linear maps between channels."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.so3 import degree_of_component


@final
class DegreeLinear(nn.Module):
    """Mix the channels of each degree with a matrix of its own."""

    _degree: Tensor

    def __init__(self, lmax: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        weight = torch.randn(lmax + 1, channels_in, channels_out) / channels_in**0.5
        self.weight = nn.Parameter(weight)
        self.register_buffer("_degree", degree_of_component(lmax), persistent=False)

    def forward(
        self, x: Float[Tensor, "nodes sph channels_in"]
    ) -> Float[Tensor, "nodes sph channels_out"]:
        """Apply the maps of all degrees."""
        # one product, batched over components: fewer and larger operations
        weight = self.weight.index_select(0, self._degree)
        return torch.bmm(x.transpose(0, 1), weight).transpose(0, 1)
