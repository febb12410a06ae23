"""Convolution of features with channels per degree, without padding."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.nn.degrees import DegreeFeatures
from equipot.tensor_products import Path, TensorProduct, TensorProductSpec


class Tower(NamedTuple):
    """Channels that exist in the same degrees."""

    lmax: int
    """Highest of these degrees; the lowest is 0."""
    start: int
    """First channel."""
    stop: int
    """First channel that is not of this tower."""

    @property
    def width(self) -> int:
        """Number of channels."""
        return self.stop - self.start


def towers_of(channels: Sequence[int]) -> tuple[Tower, ...]:
    """Towers of features, those of the highest degree first.

    128, 64 and 32 channels of degrees 0, 1 and 2 are 32 channels to degree 2, further
    32 to degree 1, and 64 scalars.

    Args:
        channels: Number of channels of each degree, positive, not increasing.

    Raises:
        ValueError: If it increases with the degree, or is not positive.
    """
    if not channels or min(channels) < 1 or list(channels) != sorted(channels)[::-1]:
        raise ValueError(
            "channels per degree must be positive and must not increase with the "
            f"degree, got {list(channels)}"
        )
    bounds = pairwise([0, *sorted(set(channels))])
    return tuple(
        Tower(sum(count >= stop for count in channels) - 1, start, stop)
        for start, stop in bounds
    )


def tower_specs(
    channels: Sequence[int],
    lmax_filter: int,
    lmax_out: int,
    symmetry: Literal["O(3)", "SO(3)"],
) -> tuple[TensorProductSpec, ...]:
    """Tensor product of each tower: paths are kept side by side.

    Args:
        channels: Number of channels of each degree of the features.
        lmax_filter: Highest degree of edge harmonics.
        lmax_out: Highest degree of messages.
        symmetry: Which paths there are.
    """
    return tuple(
        TensorProductSpec(
            tower.lmax, lmax_filter, lmax_out, symmetry=symmetry, accumulate="concat"
        )
        for tower in towers_of(channels)
    )


def paths_and_channels(
    channels: Sequence[int], specs: Sequence[TensorProductSpec]
) -> Iterator[tuple[Path, int]]:
    """Path and channel of each radial weight of a `TowerConvolution`, in order.

    Those that end in a degree are the rows of the matrix of this degree, in the same
    order.

    Args:
        channels: Number of channels of each degree of the features.
        specs: From `tower_specs`.
    """
    for tower, spec in zip(towers_of(channels), specs, strict=True):
        for path in spec.paths:
            for channel in range(tower.start, tower.stop):
                yield path, channel


@final
class TowerConvolution(nn.Module):
    r"""Convolution with harmonics of the edges, then a mix of all paths to a degree.

    .. math:: y^{l_3}_{ic} = \sum_{p \to l_3, \, c'} W^{l_3}_{p c', c} \sum_{j \in N(i)}
                  R_{p c'}(r_{ij}) \, (x_j \otimes Y(\hat r_{ij}))_{p c'}

    Channels are not mixed by the products, so that each tower of channels has a dense
    product of its own, of any backend that keeps paths side by side, and nothing is
    computed for channels that a degree does not have.

    Args:
        tensor_products: Of the towers, with specifications of `tower_specs`.
        channels_in: Channels of each degree of the features.
        channels_out: Channels of each degree of the result.

    Raises:
        ValueError: If the products are not those of the towers.
    """

    def __init__(
        self,
        tensor_products: Sequence[TensorProduct[Any]],
        channels_in: Sequence[int],
        channels_out: Sequence[int],
    ) -> None:
        super().__init__()
        specs = [product.spec for product in tensor_products]
        self._towers = towers_of(channels_in)
        lmax_out = len(channels_out) - 1
        expected = [(tower.lmax, lmax_out, "concat") for tower in self._towers]
        found = [(spec.lmax_in, spec.lmax_out, spec.accumulate) for spec in specs]
        if expected != found:
            raise ValueError(
                f"features with {list(channels_in)} channels need tensor products of "
                f"lmax_in, lmax_out and accumulate {expected}, got {found}"
            )
        self.tensor_products = nn.ModuleList(tensor_products)
        self.num_weights = sum(
            spec.num_weights * tower.width
            for spec, tower in zip(specs, self._towers, strict=True)
        )
        ends = [path.l_out for path, _ in paths_and_channels(channels_in, specs)]
        rows = [ends.count(degree) for degree in range(lmax_out + 1)]
        self.weights = nn.ParameterList(
            torch.randn(count, columns) / max(count, 1) ** 0.5
            for count, columns in zip(rows, channels_out, strict=True)
        )

    def forward(
        self,
        x: DegreeFeatures,
        edges: Mapping[TensorProductSpec, Any],
        weights: Float[Tensor, "edges num_weights"],
    ) -> DegreeFeatures:
        """Sum over the edges that arrive at each atom, mixed.

        Args:
            x: Features.
            edges: State of the edges that each tensor product prepared.
            weights: R of each edge, in the order of `paths_and_channels`.
        """
        rows: list[list[Tensor]] = [[] for _ in self.weights]
        start = 0
        products = cast(list[TensorProduct[Any]], list(self.tensor_products))
        for tower, product in zip(self._towers, products, strict=True):
            spec = product.spec
            stop = start + spec.num_weights * tower.width
            per_path = weights[:, start:stop].unflatten(1, (-1, tower.width))
            start = stop
            parts = [part[..., tower.start : tower.stop] for part in x]
            dense = torch.cat(parts[: tower.lmax + 1], dim=1)
            message = product(dense, edges[spec], per_path)
            for degree, of_degree in enumerate(_rows(message, spec)):
                rows[degree].append(of_degree)
        return [
            torch.cat(of_degree, dim=2) @ matrix
            for of_degree, matrix in zip(rows, self.weights, strict=True)
        ]


def _rows(
    message: Float[Tensor, "nodes components width"], spec: TensorProductSpec
) -> Iterator[Float[Tensor, "nodes _order _rows"]]:
    """Paths to each degree beside each other, as channels."""
    ends = [path.l_out for path in spec.paths]
    start = 0
    for degree in range(spec.lmax_out + 1):
        count, order = ends.count(degree), 2 * degree + 1
        block = message[:, start : start + count * order]
        start += count * order
        yield block.unflatten(1, (count, order)).transpose(1, 2).flatten(2)
