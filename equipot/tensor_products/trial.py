"""Tests of backends: random inputs, comparison with the reference, and timing."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from equipot.graph.connectivity import Connectivity
from equipot.so3 import num_components
from equipot.tensor_products.agreement import (
    FLOAT64_TOLERANCE,
    Difference,
    difference,
    rounding_tolerance,
)
from equipot.tensor_products.base import TensorProduct
from equipot.tensor_products.random_operands import random_operands
from equipot.tensor_products.spec import TensorProductSpec

Products = Mapping[TensorProductSpec, TensorProduct[Any]]
Values = dict[str, list[Tensor]]
COMPARISON_EDGES = 64
"""Number of edges of the comparison: several edges for several receivers, and few
enough for second derivatives in two precisions."""
LARGE_EDGES = 2**15
"""Number of edges of the large comparison, which exceeds the block and launch sizes of
kernels, where other code paths may run."""
MAX_RADIAL_WEIGHTS = 2**27
"""Largest number of weights of the large comparison: 512 MiB in float32."""
MAX_RADIAL_WEIGHTS_CPU = 2**22
"""The same on a CPU: 16 MiB in float32, which exceeds the memory of a block
(`equipot.tensor_products.blocks`) and the edges of a piece of work of every thread
several times. There are no launches, so larger ones would take longer for nothing."""
OPERANDS = ("features", "vectors", "weights")
MAX_INTERMEDIATE_ELEMENTS = 2**25
"""Largest number of elements of an intermediate: 128 MiB in float32."""


@dataclass(frozen=True)
class Problem:
    """Tensor products of a model, with size, precision and device of an evaluation."""

    specs: tuple[TensorProductSpec, ...]
    """Specifications of all layers, with repetitions."""
    channels: int
    """Number of channels per degree l."""
    num_nodes: int
    """Number of atoms of a typical evaluation."""
    num_edges: int
    """Number of directed edges of a typical evaluation."""
    dtype: torch.dtype
    """Floating-point precision."""
    device: torch.device
    """Device of the computation."""

    def bounded(self) -> "Problem":
        """Copy with the number of edges limited by the memory of the reference.

        Edges and atoms are rounded to powers of two, so that similar problems share a
        cache entry.
        """
        edges = _power_of_two(min(self.num_edges, self._most_edges()))
        shrunk = self.with_edges(edges)
        return replace(shrunk, num_nodes=_power_of_two(shrunk.num_nodes))

    def with_edges(self, num_edges: int) -> "Problem":
        """Copy with another number of edges and the same number per atom."""
        nodes = round(self.num_nodes * num_edges / max(self.num_edges, 1))
        return replace(self, num_edges=num_edges, num_nodes=max(nodes, 2))

    def _most_edges(self) -> int:
        def elements(spec: TensorProductSpec) -> int:
            rows = sum(2 * path.l_out + 1 for path in spec.paths)
            return rows * (num_components(spec.lmax_in) + self.channels)

        return max(
            64, MAX_INTERMEDIATE_ELEMENTS // max(elements(spec) for spec in self.specs)
        )


@dataclass(frozen=True)
class Inputs:
    """Operands of one convolution."""

    x: Tensor
    vectors: Tensor
    weights: Tensor
    connectivity: Connectivity

    def to(self, dtype: torch.dtype) -> "Inputs":
        """Copy in another precision."""
        x, vectors, weights = (t.to(dtype) for t in self.operands)
        return Inputs(x, vectors, weights, self.connectivity)

    def repeated(self, copies: int) -> "Inputs":
        """Disjoint union of several copies."""
        nodes, index = len(self.x), self.connectivity.edge_index
        steps = torch.arange(copies, device=index.device).repeat_interleave(
            index.shape[1]
        )
        x, vectors, weights = (
            t.repeat(copies, *[1] * (t.dim() - 1)) for t in self.operands
        )
        return Inputs(
            x,
            vectors,
            weights,
            Connectivity(index.repeat(1, copies) + nodes * steps, copies * nodes),
        )

    def differentiable(self) -> "Inputs":
        """Copy whose operands require gradients."""
        x, vectors, weights = (t.detach().requires_grad_() for t in self.operands)
        return Inputs(x, vectors, weights, self.connectivity)

    @property
    def operands(self) -> tuple[Tensor, Tensor, Tensor]:
        """Differentiable operands: features, directions and weights."""
        return self.x, self.vectors, self.weights


def large_edges(weights: int, device: torch.device) -> int:
    """Number of edges of the large comparison.

    Args:
        weights: Radial weights of an edge in a layer.
        device: Device of the computation.
    """
    most = MAX_RADIAL_WEIGHTS_CPU if device.type == "cpu" else MAX_RADIAL_WEIGHTS
    return max(min(LARGE_EDGES, most // max(weights, 1)), 1)


def random_inputs(problem: Problem, seed: int = 0) -> dict[TensorProductSpec, Inputs]:
    """Random float64 operands of every product, with evenly distributed receivers."""
    generator = torch.Generator().manual_seed(seed)
    edges, nodes = problem.num_edges, problem.num_nodes
    receivers = torch.arange(edges) * nodes // max(edges, 1)
    senders = torch.randint(nodes, (edges,), generator=generator)
    connectivity = Connectivity(torch.stack([senders, receivers]), nodes)
    on_device = Connectivity(connectivity.edge_index.to(problem.device), nodes)
    inputs = {}
    for spec in dict.fromkeys(problem.specs):
        x, weights = random_operands(spec, connectivity, problem.channels, generator)
        vectors = torch.randn(edges, 3, generator=generator, dtype=torch.float64)
        x, vectors, weights = (t.to(problem.device) for t in (x, vectors, weights))
        inputs[spec] = Inputs(x, vectors, weights, on_device)
    return inputs


def disagreements(
    products: Products, reference: Products, problem: Problem
) -> dict[str, Difference]:
    """Differences of a backend from the reference beyond rounding errors.

    Args:
        products: Products of the backend, by specification.
        reference: Products of the reference, by specification.
        problem: Problem; its precision and float64 are compared.

    Returns:
        Differences by quantity, such as ``"float32: gradients by weights"``, of
        messages, first and second derivatives. Operands and messages have unit
        variance, so the scale is at least one. If there are none, messages and first
        derivatives of many copies at once are compared, too.
    """
    edges = min(problem.num_edges, COMPARISON_EDGES)
    inputs = random_inputs(problem.with_edges(edges))
    found = {}
    exact = _derivatives(reference, inputs, torch.float64)
    for dtype in dict.fromkeys([torch.float64, problem.dtype]):
        expected = exact
        if dtype != torch.float64:
            expected = _derivatives(reference, inputs, dtype)
        values = _derivatives(products, inputs, dtype)
        for name, tensors in values.items():
            tolerance = FLOAT64_TOLERANCE
            if dtype != torch.float64:
                pairs = zip(expected[name], exact[name], strict=True)
                rounding = difference(pairs, tolerance=0.0, floor=1.0)
                tolerance = rounding_tolerance(rounding, dtype)
            pairs = zip(tensors, expected[name], strict=True)
            result = difference(pairs, tolerance, floor=1.0)
            if not result.passed:
                found[f"{str(dtype).removeprefix('torch.')}: {name}"] = result
    return found or _large_disagreements(products, reference, inputs, problem)


def _large_disagreements(
    products: Products,
    reference: Products,
    inputs: Mapping[TensorProductSpec, Inputs],
    problem: Problem,
) -> dict[str, Difference]:
    """Differences for many copies of a small problem at once.

    The reference computes one copy.

    Backends may use other code paths for many edges, nodes or blocks.
    """
    dtype = problem.dtype
    found = {}
    for spec, given in inputs.items():
        few = len(given.vectors)
        most = large_edges(spec.num_weights * problem.channels, problem.device)
        copies = max(most // max(few, 1), 1)
        exact = _first_derivatives(reference[spec], given, torch.float64, 1)
        expected = _first_derivatives(reference[spec], given, dtype, 1)
        values = _first_derivatives(products[spec], given, dtype, copies)
        for name, tensor in values.items():
            tolerance = FLOAT64_TOLERANCE
            if dtype != torch.float64:
                pairs = [(expected[name], exact[name])]
                rounding = difference(pairs, tolerance=0.0, floor=1.0)
                tolerance = rounding_tolerance(rounding, dtype)
            tiled = expected[name].repeat(copies, *[1] * (tensor.dim() - 1))
            result = difference([(tensor, tiled)], tolerance, floor=1.0)
            if not result.passed:
                what = f"{name} of {copies * few} edges"
                found[f"{str(dtype).removeprefix('torch.')}: {what}"] = result
    return found


def _first_derivatives(
    product: TensorProduct[Any], inputs: Inputs, dtype: torch.dtype, copies: int
) -> dict[str, Tensor]:
    """Messages and gradients of copies of a problem that do not interact."""
    given = inputs.repeated(copies).to(dtype).differentiable()
    out = product(given.x, _prepare(product, given), given.weights)
    one = torch.Size([len(inputs.x), *out.shape[1:]])
    generator = torch.Generator().manual_seed(one.numel())
    factors = torch.randn(one, generator=generator, dtype=torch.float64)
    factors = factors.repeat(copies, *[1] * (out.dim() - 1)).to(out.device, dtype)
    gradients = torch.autograd.grad(
        out, given.operands, factors, materialize_grads=True
    )
    named = zip(OPERANDS, gradients, strict=True)
    return {"messages": out, **{f"gradients by {name}": g for name, g in named}}


def limited_to_time(problem: Problem, reference: Products, limit: float) -> Problem:
    """Problem with fewer edges if the reference takes longer than a time limit.

    At this size the time is proportional to the number of edges, so the ranking of
    backends does not change.

    Args:
        problem: Problem to time.
        reference: Products of the reference.
        limit: Time limit of one forward and backward pass in seconds.
    """
    few = problem.with_edges(min(problem.num_edges, COMPARISON_EDGES))
    inputs = cast(random_inputs(few), problem.dtype)
    took = min(seconds(reference, few, inputs) for _ in range(3))
    edges = problem.num_edges
    while edges > few.num_edges and took * edges / few.num_edges > limit:
        edges //= 2
    return problem.with_edges(edges)


def cast(
    inputs: Mapping[TensorProductSpec, Inputs], dtype: torch.dtype
) -> dict[TensorProductSpec, Inputs]:
    """Operands in another precision."""
    return {spec: given.to(dtype) for spec, given in inputs.items()}


def seconds(
    products: Products, problem: Problem, inputs: Mapping[TensorProductSpec, Inputs]
) -> float:
    """Time of one forward and backward pass through the products of all layers.

    With a single CPU thread this is the CPU time of the thread, which other processes
    do not affect; otherwise it is the wall time.

    Args:
        products: Products by specification.
        problem: Problem; specifications may repeat.
        inputs: Inputs in the precision of the problem.
    """
    alone = problem.device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.thread_time if alone else time.perf_counter
    _synchronize(problem.device)
    start = clock()
    for spec, layers in Counter(problem.specs).items():
        given = inputs[spec].differentiable()
        edges = _prepare(products[spec], given)
        messages = [
            products[spec](given.x, edges, given.weights) for _ in range(layers)
        ]
        torch.autograd.grad(
            messages,
            given.operands,
            [torch.ones_like(m) for m in messages],
            allow_unused=True,  # products of scalars do not depend on directions
        )
    _synchronize(problem.device)
    return clock() - start


def _derivatives(
    products: Products, inputs: Mapping[TensorProductSpec, Inputs], dtype: torch.dtype
) -> Values:
    """Messages and their first and second derivatives by every operand."""
    values: Values = defaultdict(list)
    for spec, product in products.items():
        given = inputs[spec].to(dtype).differentiable()
        out = product(given.x, _prepare(product, given), given.weights)
        values["messages"].append(out)
        total = _project(out)
        for order in ("gradients", "second derivatives"):
            gradients = torch.autograd.grad(
                total, given.operands, create_graph=True, materialize_grads=True
            )
            for name, gradient in zip(OPERANDS, gradients, strict=True):
                values[f"{order} by {name}"].append(gradient)
            total = torch.stack([_project(g) for g in gradients]).sum()
    return values


def _prepare(product: TensorProduct[Any], given: Inputs) -> Any:
    # Derivatives off the unit sphere are undefined: normalize the directions first.
    directions = torch.nn.functional.normalize(given.vectors)
    return product.prepare(directions, given.connectivity)


def _project(tensor: Tensor) -> Tensor:
    """Nonlinear scalar function of a tensor with random coefficients.

    Its gradient depends on the tensor, so second derivatives also test the derivative
    of the backward pass with respect to the incoming gradient.
    """
    generator = torch.Generator().manual_seed(tensor.numel())
    factors = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    factors = factors.to(tensor.device, tensor.dtype)
    return (factors * (tensor + tensor * tensor / 2)).sum()


def _power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
