"""Interaction block: one message-passing step."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.nn.gate import Gate
from equipot.nn.linear import DegreeLinear, add_shared_degrees
from equipot.nn.radial import RadialMLP
from equipot.so3 import degree_of_component, num_components
from equipot.tensor_products import TensorProduct, TensorProductSpec


@final
class InteractionBlock(nn.Module):
    r"""Channelwise convolution, self-connection and gate.

    .. math:: m_i = \frac{1}{\sqrt{\bar n}} \sum_{j \in N(i)}
                    R(r_{ij}) \, (A x_j \otimes Y(\hat r_{ij})), \qquad
              x_i' = \mathrm{gate}(B m_i + s_{z_i} \odot C x_i)

    with matrices A, B, C that mix channels degree by degree, factors s of the chemical
    element, and weights R of the paths from an MLP of the length.

    Args:
        tensor_product: Convolution; its specification determines all degrees.
        channels: Number of channels per degree.
        num_elements: Number of chemical elements.
        num_basis: Number of radial basis functions per edge.
        radial_hidden: Hidden widths of the radial MLP.
        average_num_neighbors: Mean number of incoming edges per atom.

    Raises:
        ValueError: If the mean number of neighbors is not positive.

    Source:
        Structure of the update: S. Batzner et al., Nat. Commun. 13, 2453 (2022).
    """

    _degree: Tensor

    def __init__(
        self,
        tensor_product: TensorProduct[Any],
        channels: int,
        num_elements: int,
        num_basis: int,
        radial_hidden: Sequence[int],
        average_num_neighbors: float,
    ) -> None:
        super().__init__()
        if not average_num_neighbors > 0:
            raise ValueError(
                "average_num_neighbors must be positive, got "
                f"{average_num_neighbors}: check that the cutoff exceeds the distances"
            )
        spec = tensor_product.spec
        self.tensor_product = tensor_product
        self.channels = channels
        self.lmax_shared = min(spec.lmax_in, spec.lmax_out)
        self.message_scale = average_num_neighbors**-0.5
        self.linear_in = DegreeLinear(spec.lmax_in, channels, channels)
        self.radial = RadialMLP(num_basis, radial_hidden, spec.num_weights * channels)
        self.linear_out = DegreeLinear(spec.lmax_out, channels, channels)
        self.self_connection = DegreeLinear(self.lmax_shared, channels, channels)
        self.element_factors = nn.Parameter(
            torch.randn(num_elements, self.lmax_shared + 1, channels)
        )
        self.element_bias = nn.Parameter(torch.zeros(num_elements, channels))
        degree = degree_of_component(self.lmax_shared)
        self.register_buffer("_degree", degree, persistent=False)
        self.gate = Gate(spec.lmax_out, channels)

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        elements: Int[Tensor, " nodes"],
        edges: Mapping[TensorProductSpec, Any],
        weights: Float[Tensor, "edges num_weights_times_channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Update the features of all atoms.

        Args:
            x: Features.
            elements: Index of the chemical element of each atom.
            edges: Edge state prepared by the tensor product.
            weights: Result of ``self.radial`` for each edge.
        """
        per_path = weights.unflatten(1, (-1, self.channels))
        message = self.tensor_product(
            self.linear_in(x), edges[self.tensor_product.spec], per_path
        )
        update = self.linear_out(message * self.message_scale)
        return self.gate(self._add_self_connection(update, x, elements))

    def _add_self_connection(
        self,
        update: Float[Tensor, "nodes sph_out channels"],
        x: Float[Tensor, "nodes sph_in channels"],
        elements: Int[Tensor, " nodes"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        factors = self.element_factors[elements].index_select(1, self._degree)
        shared = num_components(self.lmax_shared)
        kept = self.self_connection(x[:, :shared]) * factors
        bias = self.element_bias[elements][:, None]
        return add_shared_degrees(add_shared_degrees(update, kept), bias)
