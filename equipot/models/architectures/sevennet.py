"""SevenNet: NequIP with even features, so that it commutes with rotations only."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.config.model import SevenNetConfig
from equipot.models.backbone import EdgeGeometry
from equipot.models.message_passing import MessagePassing
from equipot.models.products import Products
from equipot.nn import (
    BesselBasis,
    DegreeFeatures,
    ElementLinearPerDegree,
    EmbeddedElement,
    LinearPerDegree,
    RadialInputs,
    RadialMLP,
    ScalarGate,
    SolidRadialMLP,
    TowerConvolution,
    WithLengths,
    add_degrees,
    dense_layout,
    draw_weights,
    paths_and_channels,
    polynomial_envelope,
    tower_specs,
    with_gates,
    xplor_envelope,
)
from equipot.tensor_products import TensorProduct, TensorProductSpec

GAIN: Final = 1.6791767923989418
"""Factor of SiLU in gates, and between the layers of radial MLPs. It is to restore the
second moment of a normal variable; e3nn estimates it from a million random numbers,
always the same, and is 0.2 percent off. Weights are trained with this factor, so that
the exact one would give another potential."""


@final
class SevenNet(MessagePassing):
    """Convolutions with self-connections and gates.

    The last layer makes scalars only. Wave numbers of the radial functions are trained.

    Args:
        config: Hyperparameters.
        atomic_numbers: Chemical elements, ascending.
        average_num_neighbors: Mean number of edges that arrive at an atom.
        products: Makers of the tensor products.

    Source:
        Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024).
    """

    def __init__(
        self,
        config: SevenNetConfig,
        atomic_numbers: Sequence[int],
        average_num_neighbors: float,
        products: Products,
    ) -> None:
        hidden = config.channels_per_degree
        lmax_filter = config.lmax if config.lmax_filter is None else config.lmax_filter
        channels = [hidden[:1], *[hidden] * (config.num_layers - 1), hidden[:1]]
        layers = [
            SevenNetLayer(
                [
                    products.of_edges(spec)
                    for spec in tower_specs(
                        before, lmax_filter, len(after) - 1, config.symmetry
                    )
                ],
                before,
                after,
                config.num_basis,
                config.radial_hidden,
                average_num_neighbors,
                len(atomic_numbers) if kept == "element" else None,
                bias=config.bias,
                solid=config.harmonics == "solid",
            )
            for (before, after), kept in zip(
                pairwise(channels), config.self_connections, strict=True
            )
        ]
        super().__init__(
            layers,
            EmbeddedElement(len(atomic_numbers), hidden[0]),
            _radial_inputs(config),
            cutoff=config.cutoff,
            channels=[after[0] for after in channels[1:]],
            lmax=[len(after) - 1 for after in channels[1:]],
            symmetry=config.symmetry,
        )
        self.scale: nn.Parameter | None = None
        if config.element_scale:
            self.scale = nn.Parameter(torch.ones(len(atomic_numbers)))
        if config.envelope_onset is not None:
            self.hessian_jumps = (config.envelope_onset, config.cutoff)

    def forward(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> list[Float[Tensor, "nodes _sph _channels"]]:
        """Features after each layer, times the scale of the element."""
        features = super().forward(elements, edges)
        if self.scale is None:
            return features
        scale = self.scale[elements][:, None, None]
        return [of_layer * scale for of_layer in features]

    def dense(self, x: DegreeFeatures) -> Float[Tensor, "nodes _sph _channels"]:
        """Features of a layer in the layout of `Backbone`."""
        return dense_layout(x)


@final
class SevenNetLayer(nn.Module):
    r"""One convolution with a self-connection, and a gate.

    .. math:: x_i' = \mathrm{gate} \Big( \frac{1}{\bar n}
                     \sum_p W_p \sum_{j \in N(i)} R_p(r_{ij})
                     (U x_j \otimes Y(\hat r_{ij}))_p + S x_i \Big)

    Args:
        tensor_products: Of the towers of the features.
        channels_in: Channels of each degree of the features.
        channels_out: Channels of each degree of the result.
        num_basis: Radial functions that describe an edge.
        radial_hidden: Hidden widths of the radial MLP.
        average_num_neighbors: Mean number of edges that arrive at an atom.
        num_elements: Chemical elements with a matrix S each; None for one matrix.
        bias: Whether U and W add a vector to the scalars.
        solid: Whether harmonics are those of the vector of an edge; the last radial
            input is the length then.
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
        bias: bool,
        solid: bool,
    ) -> None:
        super().__init__()
        update = with_gates(channels_out)
        self._scale = 1 / average_num_neighbors
        self.linear = LinearPerDegree(channels_in, channels_in)
        self.convolution = TowerConvolution(tensor_products, channels_in, update)
        self.bias_in: nn.Parameter | None = None
        self.bias_out: nn.Parameter | None = None
        if bias:
            self.bias_in = nn.Parameter(torch.zeros(channels_in[0]))
            self.bias_out = nn.Parameter(torch.zeros(update[0]))
        radial = RadialMLP(
            num_basis,
            radial_hidden,
            self.convolution.num_weights,
            bias=False,
            envelope_on="input",
        )
        draw_weights(radial, [1.0] + [GAIN] * len(radial_hidden))
        self.radial: RadialMLP | SolidRadialMLP = radial
        if solid:
            specs = [product.spec for product in tensor_products]
            weights = paths_and_channels(channels_in, specs)
            self.radial = SolidRadialMLP(radial, [path.l_filter for path, _ in weights])
        self.self_connection: LinearPerDegree | ElementLinearPerDegree
        if num_elements is None:
            self.self_connection = LinearPerDegree(channels_in, update)
        else:
            self.self_connection = ElementLinearPerDegree(
                num_elements, channels_in, update
            )
        self.gate = ScalarGate(channels_out, GAIN)

    def forward(
        self,
        x: DegreeFeatures,
        elements: Int[Tensor, " nodes"],
        edges: Mapping[TensorProductSpec, Any],
        weights: Float[Tensor, "edges num_weights"],
    ) -> DegreeFeatures:
        """New features of all atoms; see `equipot.models.message_passing.Layer`."""
        sent = _with_bias(self.linear(x), self.bias_in)
        message = self.convolution(sent, edges, weights)
        scaled = [part * self._scale for part in message]
        update = _with_bias(scaled, self.bias_out)
        return self.gate(add_degrees(update, self._kept(x, elements)))

    def _kept(
        self, x: DegreeFeatures, elements: Int[Tensor, " nodes"]
    ) -> DegreeFeatures:
        if isinstance(self.self_connection, ElementLinearPerDegree):
            return self.self_connection(x, elements)
        return self.self_connection(x)


def _with_bias(x: DegreeFeatures, bias: nn.Parameter | None) -> DegreeFeatures:
    """Features with a vector added to the scalars."""
    return x if bias is None else [x[0] + bias, *x[1:]]


def _radial_inputs(config: SevenNetConfig) -> RadialInputs:
    """Bessel functions of trained wave numbers, and the envelope."""
    cutoff, onset = config.cutoff, config.envelope_onset

    def envelope(lengths: Tensor) -> Tensor:
        if onset is not None:
            return xplor_envelope(lengths, onset, cutoff)
        return polynomial_envelope(lengths / cutoff, config.envelope_power)

    basis: nn.Module = BesselBasis(cutoff, config.num_basis, trainable=True)
    if config.harmonics == "solid":
        basis = WithLengths(basis)
    return RadialInputs(basis, envelope)
