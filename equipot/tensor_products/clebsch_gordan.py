"""The reference backend: Clebsch-Gordan couplings, path by path, in plain PyTorch."""

from typing import final

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from equipot.constants import Constant
from equipot.scatter import scatter_sum
from equipot.so3 import (
    degree_slice,
    num_components,
    spherical_harmonics,
    wigner_3j,
)
from equipot.tensor_products.base import TensorProduct
from equipot.tensor_products.spec import Path, TensorProductSpec

EdgeMatrices = tuple[Float[Tensor, "edges _rows sph_in"], ...]


@final
class ClebschGordan(TensorProduct[EdgeMatrices]):
    r"""Couplings contracted with the harmonics first, once per edge for all channels.

    .. math:: T^p_{ki} = \alpha_p \sum_j C^{l_1 l_2 l_3}_{ijk} Y^{l_2}_j(n), \qquad
              z^{l_3}_{kc} = \sum_p W_{pc} \sum_i T^p_{ki} \, x_{ic}

    The rows of a matrix T are the components of all paths that end in one degree. It
    does not depend on the channel, so that the work per channel is a product of small
    matrices. Degrees meet only on the nodes: nothing of the size of edges times paths
    times channels is copied.
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
        """Nothing is: this backend defines what the others must compute."""
        return None

    def prepare(self, directions: Float[Tensor, "edges 3"]) -> EdgeMatrices:
        """Matrices T of each degree of the messages."""
        harmonics = spherical_harmonics(self.spec.lmax_filter, directions)
        matrices = harmonics @ self._couplings.like(harmonics)
        sph_in = num_components(self.spec.lmax_in)
        return matrices.unflatten(1, (-1, sph_in)).split(self._rows_of_degree, dim=1)

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        edges: EdgeMatrices,
        weights: Float[Tensor, "edges num_weights channels"],
        edge_index: Int[Tensor, "2 edges"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the weighted products over the edges that arrive at each node."""
        senders, receivers = edge_index
        sent = x.index_select(0, senders)
        by_degree = self._path_weights(weights).split(self._paths_to_degree, dim=1)
        received = []
        for degree, (matrices, w) in enumerate(zip(edges, by_degree, strict=True)):
            if w.shape[1] > 0:
                messages = self._weigh(matrices @ sent, w)
                received.append(scatter_sum(messages, receivers, len(x)))
            elif self.spec.accumulate == "sum":
                received.append(x.new_zeros(len(x), 2 * degree + 1, x.shape[2]))
        return torch.cat(received, dim=1)

    def _path_weights(
        self, weights: Float[Tensor, "edges num_weights channels"]
    ) -> Float[Tensor, "edges paths channels"]:
        if self.spec.weighting == "per_path":
            return weights
        sizes = [n + 1 for n in (self.spec.lmax_in, self.spec.lmax_filter)]
        a, b, c = torch.tensor_split(weights, [sizes[0], sum(sizes)], dim=1)
        l_in, l_filter, l_out = (
            list(degrees) for degrees in zip(*self.spec.paths, strict=True)
        )
        return a[:, l_in] * b[:, l_filter] * c[:, l_out]

    def _weigh(
        self,
        products: Float[Tensor, "edges rows channels"],
        weights: Float[Tensor, "edges paths channels"],
    ) -> Float[Tensor, "edges _ channels"]:
        """Weigh the paths to one degree; sum them, if so specified."""
        blocks = products.unflatten(1, (weights.shape[1], -1)) * weights[:, :, None]
        return blocks.sum(1) if self.spec.accumulate == "sum" else blocks.flatten(1, 2)


def _edge_matrix_map(
    spec: TensorProductSpec,
) -> Float64[Tensor, "sph_filter rows_sph_in"]:
    """Linear map from harmonics to the matrices T, flattened."""
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
