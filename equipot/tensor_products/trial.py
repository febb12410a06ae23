"""Backends on trial: random inputs, agreement with the reference, and time."""

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
EDGES_OF_AGREEMENT = 64
"""Edges on which backends are compared: some for each of several receivers, and few
enough for second derivatives in two arithmetics."""
LARGE_EDGES = 2**15
"""Edges of a comparison at the size of calculations: beyond the blocks and launches of
kernels, where other code may run than for a few."""
MOST_WEIGHTS = 2**27
"""Weights of that comparison: 512 MiB in float32."""
OPERANDS = ("features", "vectors", "weights")
ELEMENTS = 2**25
"""Most elements of an intermediate of the reference: 128 MiB in float32."""


@dataclass(frozen=True)
class Problem:
    """Convolutions of a model, and how large and where they are."""

    specs: tuple[TensorProductSpec, ...]
    """Of the layers; what occurs twice counts twice."""
    channels: int
    """Copies of each degree."""
    num_nodes: int
    """Atoms of a typical evaluation."""
    num_edges: int
    """Directed edges of a typical evaluation."""
    dtype: torch.dtype
    """Arithmetic."""
    device: torch.device
    """Where they are computed."""

    def bounded(self) -> "Problem":
        """The problem with so few edges that the reference fits into memory.

        Edges and atoms are rounded to powers of two, so that similar problems are one.
        """
        edges = _power_of_two(min(self.num_edges, self._most_edges()))
        shrunk = self.with_edges(edges)
        return replace(shrunk, num_nodes=_power_of_two(shrunk.num_nodes))

    def with_edges(self, num_edges: int) -> "Problem":
        """The problem with another number of edges, as many for each atom as before."""
        nodes = round(self.num_nodes * num_edges / max(self.num_edges, 1))
        return replace(self, num_edges=num_edges, num_nodes=max(nodes, 2))

    def _most_edges(self) -> int:
        def elements(spec: TensorProductSpec) -> int:
            rows = sum(2 * path.l_out + 1 for path in spec.paths)
            return rows * (num_components(spec.lmax_in) + self.channels)

        return max(64, ELEMENTS // max(elements(spec) for spec in self.specs))


@dataclass(frozen=True)
class Inputs:
    """Operands of one convolution."""

    x: Tensor
    vectors: Tensor
    weights: Tensor
    connectivity: Connectivity

    def to(self, dtype: torch.dtype) -> "Inputs":
        """Copy in another arithmetic."""
        x, vectors, weights = (t.to(dtype) for t in self.operands)
        return Inputs(x, vectors, weights, self.connectivity)

    def repeated(self, copies: int) -> "Inputs":
        """Copies beside each other, without edges between them."""
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
        """What a convolution is differentiated by."""
        return self.x, self.vectors, self.weights


def random_inputs(problem: Problem, seed: int = 0) -> dict[TensorProductSpec, Inputs]:
    """Operands of every product in float64; each node receives about as many edges."""
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
    """Where a backend differs from the reference by more than rounding.

    Args:
        products: Of the backend, for each spec of the problem.
        reference: Of the reference.
        problem: Its arithmetic is tried, and float64.

    Returns:
        Differences by what they are of, such as ``"float32: gradients by weights"``;
        messages, first and second derivatives were compared. Operands and messages have
        unit variance, hence one is their smallest scale. If there are none, messages
        and first derivatives of many copies at once are compared, too.
    """
    edges = min(problem.num_edges, EDGES_OF_AGREEMENT)
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
    """Copies of a small problem at once, which the reference computes for one.

    Backends may have other code for many edges, nodes or blocks.
    """
    dtype = problem.dtype
    found = {}
    for spec, given in inputs.items():
        few = len(given.vectors)
        size = max(spec.num_weights * problem.channels, 1)
        copies = max(min(LARGE_EDGES, MOST_WEIGHTS // size) // max(few, 1), 1)
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


def affordable(problem: Problem, reference: Products, limit: float) -> Problem:
    """The problem, with fewer edges if the reference takes longer than a limit.

    Time is proportional to edges beyond that: which backend wins does not change.

    Args:
        problem: What is to be measured.
        reference: Products of the reference.
        limit: Seconds of one forward and backward pass.
    """
    few = problem.with_edges(min(problem.num_edges, EDGES_OF_AGREEMENT))
    inputs = cast(random_inputs(few), problem.dtype)
    took = min(seconds(reference, few, inputs) for _ in range(3))
    edges = problem.num_edges
    while edges > few.num_edges and took * edges / few.num_edges > limit:
        edges //= 2
    return problem.with_edges(edges)


def cast(
    inputs: Mapping[TensorProductSpec, Inputs], dtype: torch.dtype
) -> dict[TensorProductSpec, Inputs]:
    """Operands in another arithmetic."""
    return {spec: given.to(dtype) for spec, given in inputs.items()}


def seconds(
    products: Products, problem: Problem, inputs: Mapping[TensorProductSpec, Inputs]
) -> float:
    """Time of one forward and backward pass through the products of all layers.

    Where one thread of the CPU computes it is the time of that thread, which other
    processes and threads do not lengthen; else it is time as it passes.

    Args:
        products: One for each spec.
        problem: Says how many layers share a product, and what it prepares.
        inputs: In the arithmetic of the problem.
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
            allow_unused=True,  # a product of scalars alone has no use for directions
        )
    _synchronize(problem.device)
    return clock() - start


def _derivatives(
    products: Products, inputs: Mapping[TensorProductSpec, Inputs], dtype: torch.dtype
) -> Values:
    """Messages, gradients, and gradients of gradients, by every operand."""
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
    # Derivatives off the unit sphere are nobody's business: go through unit vectors.
    directions = torch.nn.functional.normalize(given.vectors)
    return product.prepare(directions, given.connectivity)


def _project(tensor: Tensor) -> Tensor:
    """A number, with random factors, that is not linear in the tensor.

    What arrives from it in a backward pass depends on the operands; the derivative of
    the backward pass by what arrives therefore counts as well.
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
