"""Embedding of chemical elements: initial features of atoms."""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@final
class ElementEmbedding(nn.Module):
    """Learned vector of scalars per chemical element."""

    def __init__(self, num_elements: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_elements, channels))

    def forward(
        self, elements: Int[Tensor, " nodes"]
    ) -> Float[Tensor, "nodes 1 channels"]:
        """Features of degree 0 for the elements of the atoms."""
        return self.weight[elements][:, None]
