"""Operands of the ops of the convolution, and what the reference makes of them."""

from typing import NamedTuple

import torch

from equipot.graph.connectivity import CompressedEdges, Connectivity
from equipot.ops import reference
from equipot.ops.convolution import Table
from equipot.so3 import num_components, spherical_harmonics
from equipot.tensor_products import TensorProductSpec
from equipot.tensor_products.fused import Fused

ops = torch.ops.equipot


class Operands(NamedTuple):
    """All that the three ops take."""

    x: torch.Tensor
    y: torch.Tensor
    w: torch.Tensor
    g: torch.Tensor
    x_dot: torch.Tensor
    y_dot: torch.Tensor
    w_dot: torch.Tensor
    topology: CompressedEdges
    table: Table

    @property
    def tensors(self):
        return self[:7]

    @property
    def constants(self):
        return (*self.topology, *self.table)

    def to(self, dtype):
        """Operands of another floating-point type."""
        table = self.table._replace(values=self.table.values.to(dtype))
        return Operands(*(t.to(dtype) for t in self.tensors), self.topology, table)

    def results(self, family=ops):
        """Messages, three derivatives, four derivatives of those along tangents."""
        return [
            family.convolve(*self.tensors[:3], *self.constants),
            *family.convolve_backward(*self.tensors[:4], *self.constants),
            *family.convolve_double_backward(*self.tensors, *self.constants),
        ]


def random_edges(num_nodes, num_edges, generator):
    """Edges sorted by receiver; the last node of several has none."""
    connected = max(num_nodes - 1, 1)
    edges = torch.randint(0, connected, (2, num_edges), generator=generator)
    return edges[:, edges[1].argsort(stable=True)]


def random_operands(
    spec: TensorProductSpec,
    channels: int = 3,
    *,
    num_nodes: int = 5,
    num_edges: int = 19,
    edges: torch.Tensor | None = None,
) -> Operands:
    """Operands in float64; edges along all axes are among them."""
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    if edges is None:
        edges = random_edges(num_nodes, num_edges, generator)
    connectivity = Connectivity(edges, num_nodes)
    count = connectivity.num_edges
    axes = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    directions = torch.cat([axes, randn(count, 3)])[:count]
    y = spherical_harmonics(spec.lmax_filter, torch.nn.functional.normalize(directions))
    x = randn(num_nodes, num_components(spec.lmax_in), channels)
    w = randn(count, len(spec.paths), channels)
    g = randn(num_nodes, spec.num_outputs, channels)
    dots = randn(*x.shape), randn(*y.shape), randn(*w.shape)
    topology = connectivity.compressed
    return Operands(x, y, w, g, *dots, topology, Fused(spec)._table(x))


def assert_equals_reference(operands: Operands, dtype: torch.dtype) -> None:
    """All results, relative to the largest of each tensor.

    The largest error that was seen is 3e-15 and, in sums of up to a thousand terms that
    float32 rounds, 2e-6.
    """
    tolerance = {torch.float64: 1e-13, torch.float32: 1e-5}[dtype]
    given = operands.to(dtype)
    # the reference starts from the same, rounded, numbers
    expected = given.to(torch.float64).results(reference)
    for result, right in zip(given.results(), expected, strict=True):
        assert result.dtype == dtype
        assert result.shape == right.shape
        scale = right.abs().max().clamp(min=1) if right.numel() else 1.0
        error = ((result.double() - right).abs() / scale).max() if right.numel() else 0
        assert error < tolerance


def three_derivatives(function, inputs):
    """Random contractions of the first, second and third derivatives."""
    out, values = function(*inputs).pow(2).sum(), []
    for order in range(3):
        gradients = torch.autograd.grad(out, inputs, create_graph=True)
        generator = torch.Generator().manual_seed(order)
        out = sum(
            (g * torch.randn(g.shape, generator=generator, dtype=g.dtype)).sum()
            for g in gradients
        )
        values.append(out)
    return torch.stack(values)
