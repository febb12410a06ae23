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


@final
class ClebschGordan(TensorProduct[Float[Tensor, "edges rows sph_in"]]):
    r"""Couplings contracted with the harmonics first, once per edge for all channels.

    .. math:: T^p_{ki} = \alpha_p \sum_j C^{l_1 l_2 l_3}_{ijk} Y^{l_2}_j(n), \qquad
              z^{l_3}_{kc} = \sum_p W_{pc} \sum_i T^p_{ki} \, x_{ic}

    The rows of `T` are the components of all paths. It does not depend on the channel,
    so that the work per channel is a product of small matrices.
    """

    def __init__(self, spec: TensorProductSpec) -> None:
        super().__init__(spec)
        self._couplings = Constant(_edge_matrix_map(spec))
        self._paths_to_degree = [
            sum(path.l_out == degree for path in spec.paths)
            for degree in range(spec.lmax_out + 1)
        ]

    @staticmethod
    def unsupported(spec: TensorProductSpec) -> str | None:
        """Nothing is: this backend defines what the others must compute."""
        return None

    def prepare(
        self, directions: Float[Tensor, "edges 3"]
    ) -> Float[Tensor, "edges rows sph_in"]:
        """Matrices T of all paths, one below the other."""
        harmonics = spherical_harmonics(self.spec.lmax_filter, directions)
        matrices = harmonics @ self._couplings.like(harmonics)
        return matrices.unflatten(1, (-1, num_components(self.spec.lmax_in)))

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        edges: Float[Tensor, "edges rows sph_in"],
        weights: Float[Tensor, "edges num_weights channels"],
        edge_index: Int[Tensor, "2 edges"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the weighted products over the edges that arrive at each node."""
        senders, receivers = edge_index
        products = torch.bmm(edges, x.index_select(0, senders))
        messages = self._weigh(products, self._path_weights(weights))
        return scatter_sum(messages, receivers, len(x))

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
    ) -> Float[Tensor, "edges sph_out channels"]:
        """Weigh the paths; sum those that end in the same degree, if so specified."""
        # split, not slices: the gradient of a slice is a padded copy of the whole.
        counts = self._paths_to_degree
        rows = [n * (2 * degree + 1) for degree, n in enumerate(counts)]
        messages = [
            block.unflatten(1, (-1, 2 * degree + 1)) * w[:, :, None]
            for degree, (block, w) in enumerate(
                zip(products.split(rows, 1), weights.split(counts, 1), strict=True)
            )
        ]
        if self.spec.accumulate == "sum":
            return torch.cat([message.sum(1) for message in messages], dim=1)
        return torch.cat([message.flatten(1, 2) for message in messages], dim=1)


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
