"""Normalization of features."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.nn.degrees import DegreeFeatures

EPSILON = 1e-12
"""Added to mean squares, so that features that vanish stay zero."""


@final
class DegreeRMSNorm(nn.Module):
    r"""Division of the features of an atom by their root mean square over degrees.

    .. math:: x'^l_{mc} = g^l_c \, x^l_{mc} \, (s + \epsilon)^{-1/2}, \qquad
              s = \frac{1}{L + 1} \sum_{l=0}^{L} \frac{1}{(2l + 1)^2}
                  \sum_{mc} (x^l_{mc})^2

    with a trained factor g of each degree and channel. The inner sum is over channels,
    no mean: g makes up for it.

    Args:
        channels: Channels of each degree.

    Source:
        Y.-L. Liao et al., ICLR 2024, section 4.3, as changed by T. Koker et al.,
        arXiv:2508.16067.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.factors = nn.ParameterList(torch.ones(count) for count in channels)

    def forward(self, x: DegreeFeatures) -> DegreeFeatures:
        """Normalize the features of every atom."""
        scale = (_mean_square(x) + EPSILON).rsqrt()
        return [
            part * (scale * factor)
            for part, factor in zip(x, self.factors, strict=True)
        ]


def _mean_square(x: DegreeFeatures) -> Float[Tensor, "nodes 1 1"]:
    """Sum of the formula."""
    squares = [
        part.square().sum(dim=(1, 2), keepdim=True) / part.shape[1] ** 2 for part in x
    ]
    return torch.stack(squares).mean(0)
