"""The Clebsch-Gordan product by compiled ops: gather, product and sum in one pass."""

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
    """Edges in the order of their receivers, and functions of their directions.

    The latter is computed where it is first needed, once for all products, and recorded
    for differentiation as if it had been when the edges were made: a first call without
    gradients does not take them from the next.

    Args:
        directions: Unit vectors, sorted by receiver.
        compressed: Senders and receivers.
        order: Given edges in the order of their receivers; None if they were sorted.
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
        """Of degree 0 to `lmax`."""
        if lmax not in self._harmonics:
            with torch.set_grad_enabled(self._record):
                self._harmonics[lmax] = solid_harmonics(lmax, self._directions)
        return self._harmonics[lmax]

    def given(self, lmax: int, harmonics: Float[Tensor, "edges sph"]) -> "FusedEdges":
        """The same edges, whose harmonics are known."""
        copy = FusedEdges(self._directions, self.compressed, self.order)
        copy._harmonics[lmax] = harmonics
        return copy

    def rotations(self, lmax: int) -> EdgeRotations:
        """Rotations of features up to `lmax` to the frames of the edges."""
        if lmax not in self._rotations:
            with torch.set_grad_enabled(self._record):
                self._rotations[lmax] = edge_rotations(self._directions, lmax)
        return self._rotations[lmax]


@final
class Fused(TensorProduct[FusedEdges]):
    """Clebsch-Gordan couplings by the compiled ops of ``cuda_ext/``.

    Nothing of the size of edges times paths times channels is made, neither in the
    product nor in its derivatives of any order.

    Args:
        spec: The product.
        algorithm: "edge_matrices" contract couplings with harmonics first, once for
            all channels; "so2" turns features to the frames of the edges. By default
            the one that is faster where it runs, see `fastest`.

    Raises:
        UnsupportedSpecError: If the algorithm asked for cannot compute the product.
        BackendUnavailableError: If the ops are not compiled for the device of the
            operands, or for no device at all.
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
        rows, columns, values = _edge_matrix_map(spec)
        self._rows, self._columns = rows, columns
        self._values = Constant(values)

    @staticmethod
    def unsupported(spec: TensorProductSpec) -> str | None:
        """Nothing is; weights per degree are first multiplied to weights per path."""
        return None

    @property
    def edge_state_key(self) -> Hashable:
        """One for all products: each takes what it needs."""
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
        """Edges that `prepare` was given."""
        return len(edges.compressed.senders)

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        edges: FusedEdges,
        weights: Float[Tensor, "edges num_weights channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the weighted products over the edges that arrive at each node."""
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
    """Why the algorithm "so2" cannot compute a product, or None if it can."""
    if spec.accumulate == "concat":
        return "in the frame of an edge the paths to a degree are summed"
    if max(spec.lmax_in, spec.lmax_out) > MAX_DEGREE:
        return f"kernels in the frames of edges end at degree {MAX_DEGREE}"
    return None


def fastest(spec: TensorProductSpec, device: torch.device, channels: int) -> Algorithm:
    """The faster algorithm for a product on a device.

    Frames cost :math:`O(L^3)` operations for each channel, edge matrices
    :math:`O(L^5)` but less of everything else. On CPUs with AVX-512 frames win from
    degree 4 on, and at degree 3 for fewer than 128 channels; `benchmarks/` has the
    numbers. With features or messages of lower degree, the matrices are small. There
    are no kernels in frames for other devices.
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


def _edge_matrix_map(spec: TensorProductSpec) -> tuple[Tensor, Tensor, Tensor]:
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
