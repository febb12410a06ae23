"""Linear maps between channels."""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.so3 import degree_of_component
from equipot.tensor_products import TensorProductSpec


@final
class DegreeLinear(nn.Module):
    """Linear map of channels with one matrix per degree."""

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
        # One product batched over components: fewer and larger operations.
        weight = self.weight.index_select(0, self._degree)
        return torch.bmm(x.transpose(0, 1), weight).transpose(0, 1)


@final
class ElementLinear(nn.Module):
    """Linear map of channels with one matrix per degree and chemical element.

    Args:
        lmax: Highest degree of the result.
        num_elements: Number of chemical elements.
        channels: Number of input channels.
        channels_out: Number of output channels; the same number by default.
    """

    _degree: Tensor

    def __init__(
        self,
        lmax: int,
        num_elements: int,
        channels: int,
        channels_out: int | None = None,
    ) -> None:
        super().__init__()
        out = channels if channels_out is None else channels_out
        shape = (num_elements, lmax + 1, channels, out)
        self.weight = nn.Parameter(torch.randn(shape) / channels**0.5)
        self.register_buffer("_degree", degree_of_component(lmax), persistent=False)

    def forward(
        self, x: Float[Tensor, "nodes _sph channels"], elements: Int[Tensor, " nodes"]
    ) -> Float[Tensor, "nodes sph channels_out"]:
        """Apply the maps to degrees up to `lmax`; higher ones are dropped."""
        sph = len(self._degree)
        # only elements that are present cost anything, of the 89 that a model may have
        present, counts = torch.unique(elements, return_counts=True)
        if len(present) == 0:
            return x.new_zeros(0, sph, self.weight.shape[3])
        weights = self.weight.index_select(0, present).unbind()
        if len(present) == 1:
            return self._mixed(x[:, :sph], weights[0])
        order = elements.argsort(stable=True)
        groups = x[:, :sph].index_select(0, order).split(counts.tolist())
        mixed = [self._mixed(*pair) for pair in zip(groups, weights, strict=True)]
        return torch.cat(mixed).index_select(0, order.argsort())

    def _mixed(
        self,
        x: Float[Tensor, "nodes sph channels"],
        weight: Float[Tensor, "degrees channels channels_out"],
    ) -> Float[Tensor, "nodes sph channels_out"]:
        """Atoms of one element."""
        of_component = weight.index_select(0, self._degree)
        return torch.bmm(x.transpose(0, 1), of_component).transpose(0, 1)


@final
class PathLinear(nn.Module):
    """Linear map of the channels of all paths to a degree, for each degree.

    Args:
        spec: Specification of the product, with concatenated paths.
        channels_in: Number of channels of each path.
        channels_out: Number of channels of the result.

    Raises:
        ValueError: If the product sums its paths.
    """

    def __init__(
        self, spec: TensorProductSpec, channels_in: int, channels_out: int
    ) -> None:
        super().__init__()
        if spec.accumulate != "concat":
            raise ValueError(
                "PathLinear needs concatenated paths: build the product with "
                "accumulate='concat'"
            )
        paths = [path.l_out for path in spec.paths]
        self._counts = [paths.count(degree) for degree in range(spec.lmax_out + 1)]
        self.weights = nn.ParameterList(
            torch.randn(count * channels_in, channels_out)
            / max(count * channels_in, 1) ** 0.5
            for count in self._counts
        )

    def forward(
        self, x: Float[Tensor, "nodes components channels_in"]
    ) -> Float[Tensor, "nodes sph channels_out"]:
        """Features of degrees 0 to `lmax_out`; zero for degrees without a path."""
        parts, start = [], 0
        for degree, (count, weight) in enumerate(
            zip(self._counts, self.weights, strict=True)
        ):
            width = 2 * degree + 1
            block = x[:, start : start + count * width]
            start += count * width
            rows = block.unflatten(1, (count, width)).transpose(1, 2).flatten(2)
            parts.append(rows @ weight)
        return torch.cat(parts, dim=1)


def add_shared_degrees(
    x: Float[Tensor, "nodes sph channels"], other: Float[Tensor, "nodes _sph channels"]
) -> Float[Tensor, "nodes sph channels"]:
    """Sum of features and features of the same or a lower highest degree."""
    missing = x.shape[1] - other.shape[1]
    return x + nn.functional.pad(other, (0, 0, 0, missing))
