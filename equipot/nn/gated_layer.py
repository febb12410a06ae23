"""Layer of NequIP and of the networks that followed: convolution, then a gate."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.constants import stored_constant
from equipot.nn.degrees import (
    DegreeFeatures,
    ElementLinearPerDegree,
    LinearPerDegree,
    add_degrees,
)
from equipot.nn.gate import ScalarGate, with_gates
from equipot.nn.norm import DegreeRMSNorm
from equipot.nn.parities import Parities
from equipot.nn.radial import RadialMLP, SolidRadialMLP, draw_weights
from equipot.nn.towers import TowerConvolution, paths_and_channels
from equipot.tensor_products import TensorProduct, TensorProductSpec


@final
class GatedLayer(nn.Module):
    r"""One convolution with a self-connection, and a gate.

    .. math:: x_i' = \mathrm{gate} \Big( \mathrm{norm} \Big( s
                     \sum_p W_p \sum_{j \in N(i)} R_p(r_{ij})
                     (U x_j \otimes Y(\hat r_{ij}))_p + S x_i \Big) \Big)

    Published networks differ in the factor s, in the matrices S, and in whether there
    is a norm.

    Args:
        tensor_products: Of the towers of the features.
        channels_in: Channels of each degree of the features; a layer uses no more of
            them than it is given.
        channels_out: Channels of each degree of the result.
        num_basis: Radial functions that describe an edge.
        radial_hidden: Hidden widths of the radial MLP, which has no biases.
        radial_gains: Of its matrices before training; see `draw_weights`.
        scale: Factor s of messages.
        gain: Factor of SiLU in the gate.
        self_connection: Whether there is one matrix S for each degree, one for each
            degree and element, or none.
        num_elements: Chemical elements.
        parities: Of features of both parities, which are listed in its order; None if
            parities are not told apart.
        odd_gain: Factor of the hyperbolic tangent of scalars that change sign under
            inversion; None if the result has none.
        sender_factors: Whether features that an atom sends are multiplied by a constant
            of its element.
        norm: Whether there is a norm.
        bias: Whether U and W add a vector to the scalars.
        solid: Whether harmonics are those of the vector of an edge; the last radial
            input is the length then.
    """

    def __init__(
        self,
        tensor_products: Sequence[TensorProduct[Any]],
        channels_in: Sequence[int],
        channels_out: Sequence[int],
        *,
        num_basis: int,
        radial_hidden: Sequence[int],
        radial_gains: Sequence[float],
        scale: float,
        gain: float,
        self_connection: Literal["none", "linear", "element"],
        num_elements: int,
        parities: Parities | None = None,
        odd_gain: float | None = None,
        sender_factors: bool = False,
        norm: bool = False,
        bias: bool = False,
        solid: bool = False,
    ) -> None:
        super().__init__()
        update = with_gates(channels_out, odd_scalars=odd_gain is not None)
        self.scale = scale
        self.linear = LinearPerDegree(channels_in, channels_in)
        self.convolution = TowerConvolution(
            tensor_products, channels_in, update, parities
        )
        self.sender_factors: nn.Parameter | None = None
        if sender_factors:
            self.sender_factors = stored_constant([1.0] * num_elements)
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
        draw_weights(radial, radial_gains)
        self.radial: RadialMLP | SolidRadialMLP = radial
        if solid:
            specs = [product.spec for product in tensor_products]
            weights = paths_and_channels(channels_in, update, specs, parities)
            powers = [path.l_filter for _, path, *_ in weights]
            self.radial = SolidRadialMLP(radial, powers)
        self.self_connection: LinearPerDegree | ElementLinearPerDegree | None = None
        if self_connection == "linear":
            self.self_connection = LinearPerDegree(channels_in, update)
        elif self_connection == "element":
            self.self_connection = ElementLinearPerDegree(
                num_elements, channels_in, update
            )
        self.norm = DegreeRMSNorm(update) if norm else None
        self.gate = ScalarGate(channels_out, gain, odd_gain)

    def forward(
        self,
        x: DegreeFeatures,
        elements: Int[Tensor, " nodes"],
        edges: Mapping[TensorProductSpec, Any],
        weights: Float[Tensor, "edges num_weights"],
    ) -> DegreeFeatures:
        """New features of all atoms; see `equipot.models.message_passing.Layer`."""
        sent = _with_bias(self.linear(x), self.bias_in)
        if self.sender_factors is not None:
            factors = self.sender_factors[elements][:, None, None]
            sent = [part * factors for part in sent]
        message = self.convolution(sent, edges, weights)
        scaled = [part * self.scale for part in message]
        update = self._with_own(_with_bias(scaled, self.bias_out), x, elements)
        if self.norm is not None:
            update = self.norm(update)
        return self.gate(update)

    def _with_own(
        self, update: DegreeFeatures, x: DegreeFeatures, elements: Int[Tensor, " nodes"]
    ) -> DegreeFeatures:
        """Messages, and the features of the atom itself."""
        if self.self_connection is None:
            return update
        if isinstance(self.self_connection, ElementLinearPerDegree):
            return add_degrees(update, self.self_connection(x, elements))
        return add_degrees(update, self.self_connection(x))


def _with_bias(x: DegreeFeatures, bias: nn.Parameter | None) -> DegreeFeatures:
    """Features with a vector added to the scalars."""
    return x if bias is None else [x[0] + bias, *x[1:]]
