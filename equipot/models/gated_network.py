"""Networks of gated layers, whose features have channels per degree."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.models.backbone import EdgeGeometry
from equipot.models.message_passing import MessagePassing
from equipot.nn import DegreeFeatures, GatedLayer, RadialInputs, dense_layout


class GatedNetwork(MessagePassing):
    """Base class of networks that are a stack of `GatedLayer`.

    Args:
        layers: In order; the last one makes scalars only.
        embedding: Initial features of atoms from the indices of their elements.
        radial_inputs: Radial basis functions and envelope of the edges.
        cutoff: Cutoff of the edges in Å.
        channels: Of each degree of natural parity, after each layer.
        symmetry: Symmetry group of the network.
        scaled_elements: Number of elements with a trained factor of their energies;
            None for no such factor.
    """

    def __init__(
        self,
        layers: Sequence[GatedLayer],
        embedding: nn.Module,
        radial_inputs: RadialInputs,
        *,
        cutoff: float,
        channels: Sequence[Sequence[int]],
        symmetry: Literal["O(3)", "SO(3)"] = "O(3)",
        scaled_elements: int | None = None,
    ) -> None:
        super().__init__(
            layers,
            embedding,
            radial_inputs,
            cutoff=cutoff,
            channels=[after[0] for after in channels],
            lmax=[len(after) - 1 for after in channels],
            symmetry=symmetry,
        )
        self.scale: nn.Parameter | None = None
        if scaled_elements is not None:
            self.scale = nn.Parameter(torch.ones(scaled_elements))

    def forward(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> list[Float[Tensor, "nodes _sph _channels"]]:
        """Features after each layer, times the factor of the element if there is one.

        With a linear readout, the factor is that of the energy of the atom.
        """
        features = super().forward(elements, edges)
        if self.scale is None:
            return features
        scale = self.scale[elements][:, None, None]
        return [of_layer * scale for of_layer in features]

    def dense(self, x: DegreeFeatures) -> Float[Tensor, "nodes _sph _channels"]:
        """Features of natural parity in the layout of `Backbone`."""
        return dense_layout(x[: max(self.lmax) + 1])
