"""Linear maps between channels."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.so3 import degree_slice


@final
class DegreeLinear(nn.Module):
    """Mix the channels of each degree with a matrix of its own: equivariant by Schur."""

    def __init__(self, lmax: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.lmax = lmax
        weight = torch.randn(lmax + 1, channels_in, channels_out) / channels_in**0.5
        self.weight = nn.Parameter(weight)

    def forward(
        self, x: Float[Tensor, "nodes sph channels_in"]
    ) -> Float[Tensor, "nodes sph channels_out"]:
        """Apply the maps of all degrees."""
        return torch.cat(
            [
                x[:, degree_slice(degree)] @ self.weight[degree]
                for degree in range(self.lmax + 1)
            ],
            dim=1,
        )
