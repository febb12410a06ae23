"""Reference backend: Clebsch-Gordan couplings, path by path, in plain PyTorch."""

from typing import NamedTuple, final

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from equipot.constants import Constant
from equipot.graph.connectivity import Connectivity
from equipot.graph.scatter import scatter_sum
from equipot.so3 import (
    degree_slice,
    num_components,
    spherical_harmonics,
    wigner_3j,
)
from equipot.tensor_products.base import TensorProduct
from equipot.tensor_products.blocks import in_blocks
from equipot.tensor_products.spec import Path, TensorProductSpec
from equipot.tensor_products.weights import path_weights


class EdgeMatrices(NamedTuple):
    """Matrices from features to products, for each degree of the messages."""

    of_degree: tuple[Float[Tensor, "edges _rows sph_in"], ...]
    connectivity: Connectivity


@final
class ClebschGordan(TensorProduct[EdgeMatrices]):
    r"""Tensor product with couplings contracted with the harmonics first.

    .. math:: T^p_{ki} = \alpha_p \sum_j C^{l_1 l_2 l_3}_{ijk} Y^{l_2}_j(n), \qquad
              z^{l_3}_{kc} = \sum_p W_{pc} \sum_i T^p_{ki} \, x_{ic}

    The rows of a matrix T are the components of all paths to one output degree. T is
    computed once per edge and does not depend on the channel, so the work per channel
    is a product of small matrices. Output degrees are concatenated on the nodes only,
    and edges are processed in blocks: products of all edges, paths and channels are
    stored only if they are needed for derivatives.
    """

    def __init__(self, spec: TensorProductSpec) -> None:
        super().__init__(spec)
        self._couplings = Constant(_edge_matrix_map(spec))
        self._paths_to_degree = [
            sum(path.l_out == degree for path in spec.paths)
            for degree in range(spec.lmax_out + 1)
        ]
        self._rows_of_degree = [
            n * (2 * degree + 1) for degree, n in enumerate(self._paths_to_degree)
        ]

    @staticmethod
    def unsupported(spec: TensorProductSpec) -> str | None:
        """None: the reference supports all specifications."""
        return None

    def prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> EdgeMatrices:
        """Matrices T of each degree of the messages."""
        harmonics = spherical_harmonics(self.spec.lmax_filter, directions)
        matrices = harmonics @ self._couplings.like(harmonics)
        sph_in = num_components(self.spec.lmax_in)
        by_degree = matrices.unflatten(1, (-1, sph_in)).split(self._rows_of_degree, 1)
        return EdgeMatrices(by_degree, connectivity)

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        edges: EdgeMatrices,
        weights: Float[Tensor, "edges num_weights channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the weighted products over the incoming edges of each node."""
        senders, receivers = edges.connectivity.edge_index
        operands = [
            x.index_select(0, senders),
            path_weights(self.spec, weights),
            *edges.of_degree,
        ]
        # Products, and products times weights.
        rows, row_bytes = 2 * max(self._rows_of_degree), x.shape[2] * x.element_size()
        messages = in_blocks(self._messages, operands, rows * row_bytes)
        return torch.cat([scatter_sum(m, receivers, len(x)) for m in messages], dim=1)

    def _messages(
        self,
        sent: Float[Tensor, "edges sph_in channels"],
        weights: Float[Tensor, "edges paths channels"],
        *matrices: Float[Tensor, "edges _rows sph_in"],
    ) -> list[Float[Tensor, "edges _ channels"]]:
        """Messages of each output degree along each edge."""
        by_degree = weights.split(self._paths_to_degree, 1)
        return [
            self._weigh((m @ sent).unflatten(1, (w.shape[1], 2 * degree + 1)), w)
            for degree, (m, w) in enumerate(zip(matrices, by_degree, strict=True))
        ]

    def _weigh(
        self,
        products: Float[Tensor, "edges paths order channels"],
        weights: Float[Tensor, "edges paths channels"],
    ) -> Float[Tensor, "edges _ channels"]:
        """Multiply the paths to one degree by weights, and sum them if specified."""
        weighed = products * weights[:, :, None]
        return (
            weighed.sum(1) if self.spec.accumulate == "sum" else weighed.flatten(1, 2)
        )


def _edge_matrix_map(
    spec: TensorProductSpec,
) -> Float64[Tensor, "sph_filter rows_sph_in"]:
    """Linear map from harmonics to the flattened matrices T."""
    blocks = [
        coefficient * _path_map(spec, path)
        for path, coefficient in zip(spec.paths, spec.path_coefficients(), strict=True)
    ]
    return torch.cat(blocks, dim=1).flatten(1)


def _path_map(
    spec: TensorProductSpec, path: Path
) -> Float64[Tensor, "sph_filter rows sph_in"]:
    l_in, l_filter, l_out = path
    out = torch.zeros(
        num_components(spec.lmax_filter),
        2 * l_out + 1,
        num_components(spec.lmax_in),
        dtype=torch.float64,
    )
    coupling = wigner_3j(l_in, l_filter, l_out)
    out[degree_slice(l_filter), :, degree_slice(l_in)] = coupling.permute(1, 2, 0)
    return out
