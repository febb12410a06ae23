"""Linear maps between channels."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn


@final
class DegreeLinear(nn.Module):
    """Mix the channels of each degree with a matrix of its own."""

    def __init__(self, lmax: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self._sizes = [2 * degree + 1 for degree in range(lmax + 1)]
        weight = torch.randn(lmax + 1, channels_in, channels_out) / channels_in**0.5
        self.weight = nn.Parameter(weight)

    def forward(
        self, x: Float[Tensor, "nodes sph channels_in"]
    ) -> Float[Tensor, "nodes sph channels_out"]:
        """Apply the maps of all degrees."""
        return torch.cat(
            [
                block @ weight
                for block, weight in zip(
                    x.split(self._sizes, dim=1), self.weight.unbind(), strict=True
                )
            ],
            dim=1,
        )
