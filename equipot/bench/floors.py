r"""The least that a fused convolution and its derivatives have to compute and move.

The form is :math:`F = \sum_e \sum_{p c} w_{epc} \, x_{s(e)} T^p_e \, g_{r(e)}` of
`equipot.ops.convolution`, with its operands x, harmonics Y, weights w and cotangent g.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from equipot.bench.operations import edge_matrix_operations, so2_operations
from equipot.graph.connectivity import Connectivity
from equipot.so3 import num_components
from equipot.tensor_products import TensorProductSpec


@dataclass(frozen=True)
class Floor:
    """Work of one kernel for one graph."""

    operations: float
    """Additions and multiplications."""
    bytes: float
    """Read and written, each operand once."""

    def seconds(self, operations_per_second: float, bytes_per_second: float) -> float:
        """Time that the slower of the two takes at given rates."""
        return max(
            self.operations / operations_per_second, self.bytes / bytes_per_second
        )


@dataclass(frozen=True)
class Traffic:
    """How often one kernel passes over its operands."""

    products: int
    """Products of the size of the forward one."""
    features: int
    """Tensors like x that are read or written."""
    harmonics: int
    """Tensors like Y."""
    weights: int
    """Tensors like w."""
    messages: int
    """Tensors like g."""


KERNELS: Final[Mapping[str, Traffic]] = {
    "convolve": Traffic(products=1, features=1, harmonics=1, weights=1, messages=1),
    "convolve_backward": Traffic(
        products=2, features=2, harmonics=2, weights=2, messages=1
    ),
    "convolve_double_backward": Traffic(
        products=5, features=3, harmonics=3, weights=3, messages=2
    ),
}
r"""Kernels by name, and their passes.

Forward, a product is T x. Backward there are :math:`T^T g`, which gives the derivatives
by x and w, and the outer product of x and g, which gives that by T. The derivative of
the latter applies T and its tangent to features, their transposes to g, and has one
outer product.
"""

STEP_KERNELS: Final[Mapping[str, tuple[str, ...]]] = {
    "forward": ("convolve",),
    "forward + backward": ("convolve", "convolve_backward"),
    "double backward": ("convolve", "convolve_backward", "convolve_double_backward"),
}
"""Kernels that each step of `equipot.bench.steps` needs."""

INDEX_BYTES: Final = 8
"""Of a node's number, which the sender of an edge is read as."""


def floor(
    kernel: str,
    spec: TensorProductSpec,
    connectivity: Connectivity,
    channels: int,
    item: int,
) -> Floor:
    """Least work of a kernel.

    Args:
        kernel: Among `KERNELS`.
        spec: Product with weights per path.
        connectivity: Edges and nodes.
        channels: Copies of each degree.
        item: Bytes of a number.

    Returns:
        Operations of the cheaper of two algorithms, edge matrices and rotation to the
        frame of the edge; bytes if every operand is read, and every result written,
        once. Caches then hold the features and messages of all neighbors.
    """
    passes = KERNELS[kernel]
    edges, nodes = connectivity.num_edges, connectivity.num_nodes
    least = min(edge_matrix_operations(spec), so2_operations(spec))
    per_node = passes.features * num_components(spec.lmax_in)
    per_node += passes.messages * spec.num_outputs
    per_edge = passes.harmonics * num_components(spec.lmax_filter)
    numbers = (
        nodes * channels * per_node
        + edges * per_edge
        + edges * channels * passes.weights * spec.num_weights
    )
    return Floor(
        float(edges * channels * passes.products * least),
        float(item * numbers + INDEX_BYTES * edges),
    )


def step_seconds(
    step: str,
    spec: TensorProductSpec,
    connectivity: Connectivity,
    channels: int,
    item: int,
    *,
    operations_per_second: float,
    bytes_per_second: float,
) -> float:
    """Least time of a step: that of its kernels, one after the other.

    Args:
        step: Among `STEP_KERNELS`.
        spec: Product with weights per path.
        connectivity: Edges and nodes.
        channels: Copies of each degree.
        item: Bytes of a number.
        operations_per_second: Of a product of matrices on this machine.
        bytes_per_second: Of a copy on this machine.
    """
    return sum(
        floor(kernel, spec, connectivity, channels, item).seconds(
            operations_per_second, bytes_per_second
        )
        for kernel in STEP_KERNELS[step]
    )
