"""Convolution of features with channels per degree, without padding."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.nn.degrees import DegreeFeatures
from equipot.nn.parities import (
    FamilyTower,
    Parities,
    degree_at,
    family_towers,
    position,
)
from equipot.nn.tower import towers_of
from equipot.tensor_products import Path, TensorProduct, TensorProductSpec


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
    channels_in: Sequence[int],
    channels_out: Sequence[int],
    specs: Sequence[TensorProductSpec],
    parities: Parities | None = None,
) -> Iterator[tuple[FamilyTower, Path, int, int]]:
    """Tower, path, channel and end of each radial weight of a `TowerConvolution`.

    Those that end in the same features are the rows of the matrix of these, in the same
    order.

    Args:
        channels_in: Channels of each degree of the features.
        channels_out: Channels of each degree of the result.
        specs: From `tower_specs` or `parity_specs`.
        parities: Of features of both parities.
    """
    towers = family_towers(channels_in, channels_out, specs, parities)
    for of_family, spec in zip(towers, specs, strict=True):
        tower = of_family.tower
        for path, end in zip(spec.paths, of_family.ends, strict=True):
            if end is not None:
                for channel in range(tower.start, tower.stop):
                    yield of_family, path, channel, end


@final
class TowerConvolution(nn.Module):
    r"""Convolution with harmonics of the edges, then a mix of all paths to a degree.

    .. math:: y^{l_3}_{ic} = \sum_{p \to l_3, \, c'} W^{l_3}_{p c', c} \sum_{j \in N(i)}
                  R_{p c'}(r_{ij}) \, (x_j \otimes Y(\hat r_{ij}))_{p c'}

    Channels are not mixed by the products, so that each tower of channels has a dense
    product of its own, of any backend that keeps paths side by side, and nothing is
    computed for channels that a degree does not have.

    Args:
        tensor_products: Of the towers, with specifications of `tower_specs`, or of
            `parity_specs` for features of both parities.
        channels_in: Channels of each degree of the features.
        channels_out: Channels of each degree of the result.
        parities: Of features of both parities, which are listed in its order; None if
            parities are not told apart.

    Raises:
        ValueError: If the products are not those of the towers.
    """

    def __init__(
        self,
        tensor_products: Sequence[TensorProduct[Any]],
        channels_in: Sequence[int],
        channels_out: Sequence[int],
        parities: Parities | None = None,
    ) -> None:
        super().__init__()
        specs = [product.spec for product in tensor_products]
        before, after = parities or (len(channels_in), len(channels_out))
        self.natural = before
        self.degrees = [degree_at(n, after) for n in range(len(channels_out))]
        self.towers = family_towers(channels_in, channels_out, specs, parities)
        self.tensor_products = nn.ModuleList(tensor_products)
        ends = [
            end
            for *_, end in paths_and_channels(
                channels_in, channels_out, specs, parities
            )
        ]
        self.num_weights = len(ends)
        rows = [ends.count(n) for n in range(len(channels_out))]
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
        for of_family, product in zip(self.towers, products, strict=True):
            width, spec = of_family.tower.width, product.spec
            with_weights = [
                n for n, end in enumerate(of_family.ends) if end is not None
            ]
            stop = start + len(with_weights) * width
            per_path = weights[:, start:stop].unflatten(1, (-1, width))
            start = stop
            if len(with_weights) < len(of_family.ends):
                per_path = _spread(per_path, with_weights, len(of_family.ends))
            dense = self._dense(x, of_family)
            message = product(dense, edges[spec], per_path)
            for end, block in _blocks(message, spec, of_family.ends):
                rows[end].append(block)
        return [
            torch.cat(of_end, dim=2) @ matrix
            if of_end
            else x[0].new_zeros(len(x[0]), 2 * degree + 1, matrix.shape[1])
            for of_end, matrix, degree in zip(
                rows, self.weights, self.degrees, strict=True
            )
        ]

    def _dense(
        self, x: DegreeFeatures, of_family: FamilyTower
    ) -> Float[Tensor, "nodes sph width"]:
        """Features of a tower, degree after degree."""
        tower = of_family.tower
        degrees = range(0 if of_family.has_scalars else 1, tower.lmax + 1)
        places = [
            position(n, self.natural, unnatural=of_family.unnatural) for n in degrees
        ]
        parts = [x[place][..., tower.start : tower.stop] for place in places]
        if not of_family.has_scalars:
            parts.insert(0, x[0].new_zeros(len(x[0]), 1, tower.width))
        return torch.cat(parts, dim=1)


def _spread(
    weights: Float[Tensor, "edges paths width"], places: Sequence[int], count: int
) -> Float[Tensor, "edges all_paths width"]:
    """Weights of all paths, zero for those that have none."""
    index = torch.tensor(places, device=weights.device)
    out = weights.new_zeros(len(weights), count, weights.shape[2])
    return out.index_copy(1, index, weights)


def _blocks(
    message: Float[Tensor, "nodes components width"],
    spec: TensorProductSpec,
    ends: Sequence[int | None],
) -> Iterator[tuple[int, Float[Tensor, "nodes _order _rows"]]]:
    """Paths to the same features beside each other, as channels, with their place."""
    start = path = 0
    degrees = [p.l_out for p in spec.paths]
    for degree in range(spec.lmax_out + 1):
        count, order = degrees.count(degree), 2 * degree + 1
        block = message[:, start : start + count * order].unflatten(1, (count, order))
        start += count * order
        of_degree = list(ends[path : path + count])
        path += count
        for end in sorted({end for end in of_degree if end is not None}):
            chosen = [n for n, other in enumerate(of_degree) if other == end]
            part = block
            if len(chosen) < count:
                index = torch.tensor(chosen, device=block.device)
                part = block.index_select(1, index)
            yield end, part.transpose(1, 2).flatten(2)
