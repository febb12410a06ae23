"""Expressivity, errors, operations, memory and time of every product and backend."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from equipot.bench.couplings import path_coefficients, random_parameters
from equipot.bench.expressivity import Expressivity, expressivity
from equipot.bench.families import Member, members
from equipot.bench.graphs import Edges, first_edges
from equipot.bench.measured_flops import matrix_flops
from equipot.bench.memory_traffic import moved_bytes
from equipot.bench.operations import Operations, operations
from equipot.bench.peak_memory import peak_memory
from equipot.bench.steps import STEPS, bind
from equipot.bench.timing import Timing, interleaved_times, summarize
from equipot.bench.variants import Variant, deviation, steps_of
from equipot.graph.connectivity import Connectivity
from equipot.tensor_products import REFERENCE, ClebschGordan, TensorProduct

MAX_ROUNDS = 9
"""Most samples of each time."""
COMPARED_EDGES, COMPARED_CHANNELS = 64, 3
"""Size of the comparison with the reference."""


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement."""

    lmax: tuple[int, ...]
    """Highest degrees of features, filter and messages."""
    channels: tuple[int, ...]
    """Numbers of channels per degree."""
    edges: int
    """Directed edges between atoms of molecules."""
    dtype: torch.dtype
    """Floating-point type of the timed products."""
    seconds: float
    """Time for one lmax and number of channels; three samples are always taken."""


@dataclass(frozen=True)
class Function:
    """The function of a family at one degree."""

    family: str
    lmax: int
    """Highest degree of features, filter and messages."""
    expressivity: Expressivity


@dataclass(frozen=True)
class Cost:
    """Errors and cost of one product by one backend."""

    family: str
    backend: str
    lmax: int
    """Highest degree of features, filter and messages."""
    channels: int
    """Number of channels per degree."""
    coupling_error: float
    """Largest difference of couplings from the reference and largest part of the
    product that is no coupling, relative to the largest coupling."""
    error: float
    """Largest deviation of messages and gradients by weights from the reference in
    float64, relative."""
    rounding_error: float
    """The same in the floating-point type of the times."""
    operations: Operations | None
    """Of the algorithm, per edge and channel; None if not counted."""
    matrix_flops: float
    """FLOPs in matrix products, forward, per edge and channel."""
    moved_bytes: float
    """Memory traffic, forward, per edge and channel."""
    times: Mapping[str, Timing]
    """Of each of `STEPS`, in seconds for all edges."""
    peak_bytes: Mapping[str, int]
    """Peak memory of each of `STEPS` beyond the operands."""


@dataclass(frozen=True)
class Result:
    """All measurements."""

    functions: tuple[Function, ...]
    costs: tuple[Cost, ...]
    absent: Mapping[str, str]
    """Backends that are not available here, and why."""


def measure(
    settings: Settings, progress: Callable[[str], None] = lambda _: None
) -> Result:
    """Examine and time every product that can be computed here.

    Args:
        settings: What to measure.
        progress: Called with the present activity.

    Returns:
        Measurements in the order of degrees, then of `FAMILIES`.
    """
    functions: list[Function] = []
    costs: list[Cost] = []
    absent: dict[str, str] = {}
    edges = first_edges(settings.edges)
    for lmax in settings.lmax:
        found, missing = members(lmax)
        absent |= missing
        progress(f"couplings to degree {lmax}")
        functions += [
            Function(family, lmax, expressivity(product))
            for family, backend, product in found
            if backend == REFERENCE
        ]
        for channels in settings.channels:
            progress(f"times to degree {lmax} with {channels} channels")
            costs += _costs(found, lmax, channels, edges, settings)
    return Result(tuple(functions), tuple(costs), absent)


def relative_error(product: TensorProduct[Any], dtype: torch.dtype) -> float:
    """Largest deviation from the reference in float64, over its largest value.

    Edges along the axes are among those compared: poles of any coordinates.

    Args:
        product: Backend to examine; the reference computes the same spec.
        dtype: Floating-point type of the backend.
    """
    edges = first_edges(COMPARED_EDGES)
    axes = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    index = edges.connectivity.edge_index
    index = torch.cat([index.new_zeros(2, len(axes)), index], dim=1)
    connectivity = Connectivity(index, edges.connectivity.num_nodes)
    edges = Edges(torch.cat([axes, edges.directions]), connectivity)
    convolution = bind(product, connectivity)
    variant = Variant("", product.spec, convolution, dtype=dtype)
    return deviation(variant, edges, COMPARED_CHANNELS)


def coupling_error(product: TensorProduct[Any]) -> float:
    """Largest deviation from the couplings of the reference, relative."""
    generator = torch.Generator().manual_seed(0)
    parameters = random_parameters(product.spec, 1, generator)
    expected, _ = path_coefficients(ClebschGordan(product.spec), parameters)
    found, residual = path_coefficients(product, parameters)
    error = torch.maximum((found - expected).abs().max(), residual)
    return float(error / expected.abs().max())


def _costs(
    found: Sequence[Member], lmax: int, channels: int, edges: Edges, settings: Settings
) -> Iterator[Cost]:
    names = {m: f"{m.family}, {m.backend}" for m in found}
    own = (
        Variant(
            names[m],
            m.product.spec,
            bind(m.product, edges.connectivity),
            dtype=settings.dtype,
        )
        for m in found
    )
    calls = steps_of(own, edges, channels)
    samples = interleaved_times(calls, rounds=MAX_ROUNDS, seconds=settings.seconds)
    pairs = len(edges.directions) * channels
    for m in found:
        yield Cost(
            m.family,
            m.backend,
            lmax,
            channels,
            coupling_error(m.product),
            relative_error(m.product, torch.float64),
            relative_error(m.product, settings.dtype),
            operations(m.backend, m.product.spec),
            matrix_flops(calls[names[m], "forward"]) / pairs,
            moved_bytes(calls[names[m], "forward"]) / pairs,
            {step: summarize(samples[names[m], step]) for step in STEPS},
            {step: peak_memory(calls[names[m], step]) for step in STEPS},
        )
