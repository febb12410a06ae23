"""Convolutions of e3nn with channels per degree, in terms of equipot.

In the files the weights of a radial MLP and the rows of the linear map after a product
are ordered by path, and by channel within a path. In equipot they are ordered by tower
first (`equipot.nn.towers`).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal, final

import torch
from jaxtyping import Float64
from torch import Tensor

from equipot.conversion.errors import ConversionError
from equipot.nn import paths_and_channels, tower_specs
from equipot.tensor_products import Path, TensorProductSpec

Symmetry = Literal["O(3)", "SO(3)"]


@final
class TowerOrder:
    """Order of the weights of one convolution in a file, and in equipot.

    Args:
        channels: Of each degree of the features.
        lmax_filter: Highest degree of edge harmonics.
        lmax_out: Highest degree of messages.
        symmetry: Which paths there are.
        by_result: Whether paths are sorted by the degree of the result in the file;
            else by features, harmonic, result.
    """

    def __init__(
        self,
        channels: Sequence[int],
        lmax_filter: int,
        lmax_out: int,
        symmetry: Symmetry,
        *,
        by_result: bool = True,
    ) -> None:
        self._channels = tuple(channels)
        self._specs = tower_specs(channels, lmax_filter, lmax_out, symmetry)
        self._lmax_out = lmax_out
        # the order by result is that of `TensorProductSpec.paths`
        self._sorted = TensorProductSpec(
            len(channels) - 1, lmax_filter, lmax_out, symmetry=symmetry
        ).paths
        self.paths = self._sorted if by_result else tuple(sorted(self._sorted))

    @property
    def num_weights(self) -> int:
        """Columns of the last matrix of the radial MLP."""
        return sum(self.num_rows())

    def num_rows(self) -> list[int]:
        """Rows of the linear map after the product, of each degree."""
        return [
            sum(self._channels[p.l_in] for p in self._sorted if p.l_out == degree)
            for degree in range(self._lmax_out + 1)
        ]

    def columns(
        self,
        matrix: Float64[Tensor, "hidden num_weights"],
        signs: Mapping[Path, float] | None = None,
    ) -> Float64[Tensor, "hidden num_weights"]:
        """Columns of a matrix of the file in the order of equipot.

        Args:
            matrix: Last one of the radial MLP, inputs first, with as many columns as
                `num_weights` says.
            signs: Factor of the couplings of each path in the file, if they differ from
                those of equipot.
        """
        signs = signs or {}
        at = _positions(self.paths, self._channels)
        factors = torch.tensor(
            [signs.get(path, 1.0) for path, _ in self._ours], dtype=torch.float64
        )
        return matrix[:, [at[key] for key in self._ours]] * factors

    def rows(
        self, matrix: Float64[Tensor, "rows columns"], degree: int
    ) -> Float64[Tensor, "rows columns"]:
        """Rows of a matrix of the file in the order of equipot.

        Args:
            matrix: Linear map of a degree after the product, inputs first, with as many
                rows as `num_rows` says.
            degree: Of the results.
        """
        of_degree = [path for path in self._sorted if path.l_out == degree]
        at = _positions(of_degree, self._channels)
        return matrix[[at[key] for key in self._ours if key[0].l_out == degree]]

    @cached_property
    def _ours(self) -> list[tuple[Path, int]]:
        """Path and channel of each weight in the order of equipot.

        As long as a tensor of the file: its shape is compared before.
        """
        results = (1,) * (self._lmax_out + 1)
        weights = paths_and_channels(self._channels, results, self._specs)
        return [(path, channel) for _, path, channel, _ in weights]


def _positions(
    paths: Sequence[Path], channels: Sequence[int]
) -> dict[tuple[Path, int], int]:
    """Places of all channels of all paths, path by path."""

    def keys() -> Iterator[tuple[Path, int]]:
        for path in paths:
            for channel in range(channels[path.l_in]):
                yield path, channel

    return {key: place for place, key in enumerate(keys())}


def check_channels(channels: Sequence[int], where: str) -> tuple[int, ...]:
    """Channels per degree that equipot can compute.

    Raises:
        ConversionError: If they increase with the degree.
    """
    if not channels or min(channels) < 1 or list(channels) != sorted(channels)[::-1]:
        raise ConversionError(
            f"{where} has {list(channels)} channels of degrees 0, 1, ...: numbers that "
            "increase with the degree are not supported"
        )
    return tuple(channels)
