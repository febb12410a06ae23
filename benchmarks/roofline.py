r"""Roofline of a fused convolution and its derivatives: least operations and traffic.

The form is :math:`F = \sum_e \sum_{p c} w_{epc} \, x_{s(e)} T^p_e \, g_{r(e)}` of
`equipot.ops.convolution`, with its operands x, harmonics Y, weights w and cotangent g.
"""

from statistics import median
from typing import Final, NamedTuple

import torch

from equipot.bench.operations import edge_matrix_operations, so2_operations
from equipot.bench.timing import interleaved_times
from equipot.graph.connectivity import Connectivity
from equipot.so3 import num_components
from equipot.tensor_products import TensorProductSpec

INDEX_BYTES: Final = 8
"""Of the index of the sender of an edge."""


class Passes(NamedTuple):
    """Number of products in one kernel, and of its passes over each operand."""

    products: int
    features: int
    harmonics: int
    weights: int
    messages: int


STEP_KERNELS: Final = {
    "forward": ("convolve",),
    "forward + backward": ("convolve", "convolve_backward"),
    "double backward": ("convolve", "convolve_backward", "convolve_double_backward"),
}
"""Kernels that each step of `equipot.bench.steps` needs."""

KERNELS: Final = {
    "convolve": Passes(1, 1, 1, 1, 1),
    "convolve_backward": Passes(2, 2, 2, 2, 1),
    "convolve_double_backward": Passes(5, 3, 3, 3, 2),
}
r"""Passes by kernel.

Forward, a product is T x. Backward there are :math:`T^T g`, which gives the derivatives
by x and w, and the outer product of x and g, which gives that by T. The derivative of
the latter applies T and its tangent to features, their transposes to g, and has one
outer product.
"""


class Work(NamedTuple):
    """Work of one kernel for one graph, or what this machine does in a second."""

    operations: float
    """Additions and multiplications."""
    bytes: float
    """Read and written, each operand once."""

    def seconds(self, rates: "Work") -> float:
        """Time of arithmetic or of memory traffic, whichever is longer."""
        return max(self.operations / rates.operations, self.bytes / rates.bytes)


def kernel_work(
    kernel: str,
    spec: TensorProductSpec,
    connectivity: Connectivity,
    channels: int,
) -> Work:
    """Least work of a kernel in float32.

    Args:
        kernel: Among `KERNELS`.
        spec: Product with weights per path.
        connectivity: Edges and nodes.
        channels: Number of channels per degree.

    Returns:
        Operations of the cheaper of two algorithms, edge matrices and rotation to the
        frame of the edge; bytes if caches hold the features and messages of all
        neighbors.
    """
    passes = KERNELS[kernel]
    edges, nodes = connectivity.num_edges, connectivity.num_nodes
    least = min(edge_matrix_operations(spec), so2_operations(spec))
    per_node = passes.features * num_components(spec.lmax_in)
    per_node += passes.messages * spec.num_outputs
    per_edge = passes.harmonics * num_components(spec.lmax_filter)
    per_edge += channels * passes.weights * spec.num_weights
    numbers = nodes * channels * per_node + edges * per_edge
    return Work(
        float(edges * channels * passes.products * least),
        float(4 * numbers + INDEX_BYTES * edges),
    )


def roofline_seconds(
    step: str,
    spec: TensorProductSpec,
    connectivity: Connectivity,
    channels: int,
    device: torch.device,
) -> float:
    """Least time of a step in float32: the sum over its kernels, at measured rates."""
    kernels = STEP_KERNELS[step]
    work = [kernel_work(k, spec, connectivity, channels) for k in kernels]
    rates = measure_rates(device, sum(kernel.bytes for kernel in work))
    return sum(kernel.seconds(rates) for kernel in work)


def measure_rates(device: torch.device, copied_bytes: float) -> Work:
    """Rates of a matrix product in float32 and of a copy.

    Args:
        device: Where to measure.
        copied_bytes: Read and written by the copy; caches speed up a small one.
    """
    rows = 1024 if device.type == "cpu" else 8192
    a, b, product = (torch.randn(rows, rows, device=device) for _ in range(3))
    source = torch.zeros(max(1, int(copied_bytes) // 2), dtype=torch.uint8).to(device)
    target = torch.ones_like(source)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        samples = interleaved_times(
            {
                "product": lambda: torch.mm(a, b, out=product),
                "copy": lambda: target.copy_(source),
            }
        )
    finally:
        torch.set_float32_matmul_precision(precision)
    return Work(
        2 * rows**3 / median(samples["product"]),
        2 * len(source) / median(samples["copy"]),
    )
