"""Features whose number of channels depends on the degree: a tensor for each degree."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

DegreeFeatures = list[Float[Tensor, "nodes _order _channels"]]
"""Components 2 l + 1 and channels of each degree l, from 0 on."""


@final
class OneHotElement(nn.Module):
    """Chemical elements as features: a scalar channel for each."""

    _identity: Tensor

    def __init__(self, num_elements: int) -> None:
        super().__init__()
        self.register_buffer("_identity", torch.eye(num_elements), persistent=False)

    def forward(self, elements: Int[Tensor, " nodes"]) -> DegreeFeatures:
        """Features of degree 0."""
        return [self._identity[elements][:, None]]


@final
class EmbeddedElement(nn.Module):
    """A learned vector of scalars per chemical element."""

    def __init__(self, num_elements: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_elements, channels))

    def forward(self, elements: Int[Tensor, " nodes"]) -> DegreeFeatures:
        """Features of degree 0."""
        return [self.weight[elements][:, None]]


@final
class LinearPerDegree(nn.Module):
    """Mix the channels of each degree with a matrix of its own.

    Args:
        channels_in: Channels of each degree of the features.
        channels_out: Channels of each degree of the result, which has the degrees that
            both have.
    """

    def __init__(self, channels_in: Sequence[int], channels_out: Sequence[int]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            torch.randn(rows, columns) / rows**0.5
            for rows, columns in zip(channels_in, channels_out, strict=False)
        )

    def forward(self, x: DegreeFeatures) -> DegreeFeatures:
        """Apply the maps; degrees beyond those of the result are left out."""
        return [part @ w for part, w in zip(x, self.weights, strict=False)]


@final
class ElementLinearPerDegree(nn.Module):
    """Mix the channels of each degree with a matrix of the chemical element.

    Args:
        num_elements: Chemical elements.
        channels_in: Channels of each degree of the features.
        channels_out: Channels of each degree of the result, which has the degrees that
            both have.
    """

    def __init__(
        self,
        num_elements: int,
        channels_in: Sequence[int],
        channels_out: Sequence[int],
    ) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            torch.randn(num_elements, rows, columns) / rows**0.5
            for rows, columns in zip(channels_in, channels_out, strict=False)
        )

    def forward(
        self, x: DegreeFeatures, elements: Int[Tensor, " nodes"]
    ) -> DegreeFeatures:
        """Apply the maps; degrees beyond those of the result are left out."""
        order = torch.argsort(elements, stable=True)
        inverse = torch.argsort(order)
        counts = torch.bincount(elements, minlength=len(self.weights[0])).tolist()
        out = []
        for part, weight in zip(x, self.weights, strict=False):
            # the first element stands for all if there are no atoms
            mixed = [
                rows @ matrix
                for n, (rows, matrix) in enumerate(
                    zip(part[order].split(counts), weight, strict=True)
                )
                if n == 0 or len(rows)
            ]
            out.append(torch.cat(mixed)[inverse])
        return out


def add_degrees(x: DegreeFeatures, other: DegreeFeatures) -> DegreeFeatures:
    """Sum of features and others of the same or a lower highest degree."""
    shared = len(other)
    return [a + b for a, b in zip(x[:shared], other, strict=True)] + x[shared:]


def dense_layout(
    x: DegreeFeatures,
) -> Float[Tensor, "nodes sph channels"]:
    """Degrees one after the other, filled up with zeros to the channels of degree 0."""
    widest = x[0].shape[2]
    padded = [nn.functional.pad(part, (0, widest - part.shape[2])) for part in x]
    return torch.cat(padded, dim=1)
