"""Clebsch-Gordan product by compiled ops that fuse gather, product and scatter."""

from collections.abc import Hashable
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from equipot.constants import Constant
from equipot.graph.connectivity import CompressedEdges, Connectivity
from equipot.ops import unavailable
from equipot.ops.convolution import Table, convolve
from equipot.ops.so2_convolution import (
    MAX_DEGREE,
    EdgeRotations,
    edge_rotations,
    so2_convolve,
)
from equipot.ops.solid_harmonics import solid_harmonics
from equipot.so3 import wigner_3j
from equipot.tensor_products.base import (
    BackendUnavailableError,
    TensorProduct,
    UnsupportedSpecError,
)
from equipot.tensor_products.spec import TensorProductSpec
from equipot.tensor_products.weights import path_weights

Algorithm = Literal["edge_matrices", "so2"]


@final
class FusedEdges:
    """Edges sorted by receiver, with cached functions of their directions.

    Harmonics and frames are computed on first use, once for all products, in the
    gradient mode of the construction: a first call under ``no_grad`` does not remove
    them from the graph of later calls.

    Args:
        directions: Unit vectors, sorted by receiver.
        compressed: Senders and receivers.
        order: Permutation of the given edges to receiver order; None if sorted.
    """

    def __init__(
        self,
        directions: Float[Tensor, "edges 3"],
        compressed: CompressedEdges,
        order: Int[Tensor, " edges"] | None,
    ) -> None:
        self._directions = directions
        self.compressed = compressed
        self.order = order
        self._record = torch.is_grad_enabled()
        self._harmonics: dict[int, Float[Tensor, "edges sph"]] = {}
        self._rotations: dict[int, EdgeRotations] = {}

    def harmonics(self, lmax: int) -> Float[Tensor, "edges sph"]:
        """Harmonics of degree 0 to `lmax`."""
        if lmax not in self._harmonics:
            with torch.set_grad_enabled(self._record):
                self._harmonics[lmax] = solid_harmonics(lmax, self._directions)
        return self._harmonics[lmax]

    def given(self, lmax: int, harmonics: Float[Tensor, "edges sph"]) -> "FusedEdges":
        """Copy of the edges with precomputed harmonics."""
        copy = FusedEdges(self._directions, self.compressed, self.order)
        copy._harmonics[lmax] = harmonics
        return copy

    def rotations(self, lmax: int) -> EdgeRotations:
        """Rotations of features up to `lmax` into the frames of the edges."""
        if lmax not in self._rotations:
            with torch.set_grad_enabled(self._record):
                self._rotations[lmax] = edge_rotations(self._directions, lmax)
        return self._rotations[lmax]


@final
class Fused(TensorProduct[FusedEdges]):
    """Clebsch-Gordan couplings by the compiled ops of ``cuda_ext/``.

    No intermediate of size edges times paths times channels is stored, neither in the
    product nor in its derivatives of any order.

    Args:
        spec: Specification of the product.
        algorithm: "edge_matrices" contracts couplings with harmonics first, once for
            all channels; "so2" rotates features into the frames of the edges. By
            default the faster one, see `fastest`.

    Raises:
        UnsupportedSpecError: If the algorithm does not support the product.
        BackendUnavailableError: If the ops are not compiled for the device of the
            operands, or for any device.
    """

    def __init__(
        self, spec: TensorProductSpec, algorithm: Algorithm | None = None
    ) -> None:
        super().__init__(spec)
        if algorithm == "so2" and (reason := unsupported_in_frames(spec)) is not None:
            raise UnsupportedSpecError(f"Fused cannot compute {spec}: {reason}")
        self._algorithm = algorithm
        if unavailable(torch.device("cuda")) is not None:
            _require_compiled_ops(torch.device("cpu"))
        self._paths = [degree for path in spec.paths for degree in path]
        rows, columns, values = edge_matrix_map(spec)
        self._rows, self._columns = rows, columns
        self._values = Constant(values)

    @staticmethod
    def unsupported(spec: TensorProductSpec) -> str | None:
        """None: all are supported; weights per degree are expanded first."""
        return None

    @property
    def edge_state_key(self) -> Hashable:
        """One key for all products of this backend."""
        return Fused

    def prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> FusedEdges:
        """Edges sorted by receiver."""
        order = None
        if not connectivity.sorted_by_receiver:
            order = connectivity.receiver_order
            connectivity = Connectivity(
                connectivity.edge_index[:, order], connectivity.num_nodes
            )
            directions = directions[order]
        return FusedEdges(directions, connectivity.compressed, order)

    def num_edges(self, edges: FusedEdges) -> int:
        """Number of edges given to `prepare`."""
        return len(edges.compressed.senders)

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        edges: FusedEdges,
        weights: Float[Tensor, "edges num_weights channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the weighted products over the incoming edges of each node."""
        _require_compiled_ops(x.device)
        weights = path_weights(self.spec, weights)
        if edges.order is not None:
            weights = weights[edges.order]
        spec, table = self.spec, self._table(x)
        if (self._algorithm or fastest(spec, x.device, x.shape[2])) == "so2":
            rotations = edges.rotations(max(spec.lmax_in, spec.lmax_out))
            return so2_convolve(x, rotations, weights, edges.compressed, table)
        harmonics = edges.harmonics(spec.lmax_filter)
        return convolve(x, harmonics, weights, edges.compressed, table)

    def _table(self, x: Tensor) -> Table:
        return Table(
            self._paths,
            self._rows.to(x.device),
            self._columns.to(x.device),
            self._values.like(x),
            self.spec.num_outputs,
            self.spec.accumulate == "concat",
        )


def unsupported_in_frames(spec: TensorProductSpec) -> str | None:
    """Reason why the algorithm "so2" does not support a product; None if it does."""
    if spec.accumulate == "concat":
        return "the algorithm so2 sums the paths to each output degree"
    if max(spec.lmax_in, spec.lmax_out) > MAX_DEGREE:
        return f"the kernels of so2 support degrees up to {MAX_DEGREE}"
    return None


def fastest(spec: TensorProductSpec, device: torch.device, channels: int) -> Algorithm:
    """Faster algorithm for a product on a device.

    "so2" takes :math:`O(L^3)` operations per channel, "edge_matrices" :math:`O(L^5)`
    but with less overhead. On CPUs with AVX-512 "so2" is faster from degree 4 on, and
    at degree 3 for fewer than 128 channels (see `benchmarks/`). With features or
    messages of lower degree the edge matrices are small. "so2" has no kernels for other
    devices.
    """
    degree = min(spec.lmax_in, spec.lmax_out)
    frames = (
        device.type == "cpu"
        and unsupported_in_frames(spec) is None
        and (degree >= 4 or (degree == 3 and channels < 128))
    )
    return "so2" if frames else "edge_matrices"


def _require_compiled_ops(device: torch.device) -> None:
    if (reason := unavailable(device)) is not None:
        raise BackendUnavailableError(f"backend 'fused': {reason}")


def edge_matrix_map(spec: TensorProductSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Nonzero elements of the linear map from harmonics to edge matrices."""
    rows, columns, values = [], [], []
    element = 0
    for path, alpha in zip(spec.paths, spec.path_coefficients(), strict=True):
        coupling = alpha * wigner_3j(*path).transpose(1, 2).flatten(0, 1)
        row, harmonic = coupling.nonzero(as_tuple=True)
        rows.append(row + element)
        columns.append(harmonic + path.l_filter**2)
        values.append(coupling[row, harmonic])
        element += len(coupling)
    return torch.cat(rows).int(), torch.cat(columns).int(), torch.cat(values)
