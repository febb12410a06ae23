"""Nequix: NequIP with fewer channels of higher degrees, and a norm in every layer."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, final

from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.config.model import NequixConfig
from equipot.models.message_passing import MessagePassing, bessel_inputs
from equipot.models.products import Products
from equipot.nn import (
    DegreeFeatures,
    DegreeRMSNorm,
    ElementLinearPerDegree,
    LinearPerDegree,
    OneHotElement,
    RadialMLP,
    ScalarGate,
    TowerConvolution,
    add_degrees,
    dense_layout,
    draw_weights,
    tower_specs,
    with_gates,
)
from equipot.tensor_products import TensorProduct, TensorProductSpec

GAIN: Final = 1.6765620560798837
"""Factor of SiLU in gates. It restores the second moment of a normal variable, by the
mean over a million quantiles in the original; the integral is 1.6765324703310907."""
RADIAL_GAIN: Final = 2.0
"""Of the hidden matrices of radial MLPs, before training."""


@final
class Nequix(MessagePassing):
    """Convolutions with skip connections, norms and gates.

    The first layer sees the elements, one scalar channel for each; the last layer makes
    scalars only.

    Args:
        config: Hyperparameters.
        atomic_numbers: Chemical elements, ascending.
        average_num_neighbors: Mean number of edges that arrive at an atom.
        products: Makers of the tensor products.

    Source:
        T. Koker, M. Kotak and T. Smidt, arXiv:2508.16067.
    """

    def __init__(
        self,
        config: NequixConfig,
        atomic_numbers: Sequence[int],
        average_num_neighbors: float,
        products: Products,
    ) -> None:
        hidden = config.channels_per_degree
        lmax_filter = config.lmax if config.lmax_filter is None else config.lmax_filter
        channels = [
            (len(atomic_numbers),),
            *[hidden] * (config.num_layers - 1),
            hidden[:1],
        ]
        layers = [
            NequixLayer(
                [
                    products.of_edges(spec)
                    for spec in tower_specs(before, lmax_filter, len(after) - 1, "O(3)")
                ],
                before,
                after,
                config.num_basis,
                config.radial_hidden,
                average_num_neighbors,
                len(atomic_numbers) if config.skip == "element" else None,
                norm=config.layer_norm,
            )
            for before, after in pairwise(channels)
        ]
        super().__init__(
            layers,
            OneHotElement(len(atomic_numbers)),
            bessel_inputs(config),
            cutoff=config.cutoff,
            channels=[after[0] for after in channels[1:]],
            lmax=[len(after) - 1 for after in channels[1:]],
        )

    def dense(self, x: DegreeFeatures) -> Float[Tensor, "nodes _sph _channels"]:
        """Features of a layer in the layout of `Backbone`."""
        return dense_layout(x)


@final
class NequixLayer(nn.Module):
    r"""One convolution with a skip connection, a norm, and a gate.

    .. math:: x_i' = \mathrm{gate} \Big( \mathrm{norm} \Big( \frac{1}{\sqrt{\bar n}}
                     \sum_p W_p \sum_{j \in N(i)} R_p(r_{ij})
                     (U x_j \otimes Y(\hat r_{ij}))_p + S x_i \Big) \Big)

    Args:
        tensor_products: Of the towers of the features.
        channels_in: Channels of each degree of the features.
        channels_out: Channels of each degree of the result.
        num_basis: Radial functions that describe an edge.
        radial_hidden: Hidden widths of the radial MLP.
        average_num_neighbors: Mean number of edges that arrive at an atom.
        num_elements: Chemical elements with a matrix S each; None for one matrix.
        norm: Whether there is a norm.
    """

    def __init__(
        self,
        tensor_products: Sequence[TensorProduct[Any]],
        channels_in: Sequence[int],
        channels_out: Sequence[int],
        num_basis: int,
        radial_hidden: Sequence[int],
        average_num_neighbors: float,
        num_elements: int | None,
        *,
        norm: bool,
    ) -> None:
        super().__init__()
        update = with_gates(channels_out)
        self._scale = average_num_neighbors**-0.5
        self.linear = LinearPerDegree(channels_in, channels_in)
        self.convolution = TowerConvolution(tensor_products, channels_in, update)
        self.radial = RadialMLP(
            num_basis,
            radial_hidden,
            self.convolution.num_weights,
            bias=False,
            envelope_on="input",
        )
        draw_weights(self.radial, [RADIAL_GAIN] * len(radial_hidden) + [1.0])
        self.skip: LinearPerDegree | ElementLinearPerDegree
        if num_elements is None:
            self.skip = LinearPerDegree(channels_in, update)
        else:
            self.skip = ElementLinearPerDegree(num_elements, channels_in, update)
        self.norm = DegreeRMSNorm(update) if norm else None
        self.gate = ScalarGate(channels_out, GAIN)

    def forward(
        self,
        x: DegreeFeatures,
        elements: Int[Tensor, " nodes"],
        edges: Mapping[TensorProductSpec, Any],
        weights: Float[Tensor, "edges num_weights"],
    ) -> DegreeFeatures:
        """New features of all atoms; see `equipot.models.message_passing.Layer`."""
        message = self.convolution(self.linear(x), edges, weights)
        scaled = [part * self._scale for part in message]
        update = add_degrees(scaled, self._kept(x, elements))
        if self.norm is not None:
            update = self.norm(update)
        return self.gate(update)

    def _kept(
        self, x: DegreeFeatures, elements: Int[Tensor, " nodes"]
    ) -> DegreeFeatures:
        if isinstance(self.skip, ElementLinearPerDegree):
            return self.skip(x, elements)
        return self.skip(x)
