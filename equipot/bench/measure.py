"""Everything about every product: what it can become, its errors and its cost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from equipot.bench.couplings import path_coefficients, random_parameters
from equipot.bench.exactness import random_operands, relative_error
from equipot.bench.executed import matrix_operations
from equipot.bench.expressivity import ZERO, Expressivity, expressivity
from equipot.bench.families import Member, members
from equipot.bench.graphs import Edges, exactly
from equipot.bench.matrix_product import matrix_expressivity
from equipot.bench.memory import peak_memory
from equipot.bench.operations import Operations, operations
from equipot.bench.steps import STEPS, Operands, bind
from equipot.bench.timing import Timing, summarize, take_turns
from equipot.bench.traffic import moved_bytes

ROUNDS = 9
"""Most samples of each time."""
MATRIX = "matrix product"
"""Known from the literature, and here for comparison of what it spans."""


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    lmax: tuple[int, ...]
    """Highest degrees of features, filter and messages."""
    channels: tuple[int, ...]
    """Copies of each degree."""
    edges: int
    """Directed edges between atoms of molecules."""
    dtype: torch.dtype
    """Arithmetic of what is timed."""
    seconds: float
    """For the times of one lmax and number of channels; three samples are always
    taken."""


@dataclass(frozen=True)
class Ability:
    """What backends that compute the same function can become by learning."""

    family: str
    """Title of the family."""
    backends: tuple[str, ...]
    """Those that have equal coefficients at equal weights; none of the literature's."""
    lmax: int
    """Highest degree of features, filter and messages."""
    difference: float
    """Largest difference of their coefficients, over the largest coefficient."""
    residual: float
    """Largest part of their products that is no coupling, on the same scale."""
    expressivity: Expressivity
    """Couplings they span, and how many of them independently."""


@dataclass(frozen=True)
class Cost:
    """What one backend takes to compute one product."""

    family: str
    """Title of the family."""
    backend: str
    """Who computes it."""
    lmax: int
    """Highest degree of features, filter and messages."""
    channels: int
    """Copies of each degree."""
    error: float
    """Largest deviation from the reference in float64, relative."""
    rounding: float
    """The same in the arithmetic of the times."""
    operations: Operations | None
    """Of the algorithm, per edge and channel; None if unknown."""
    executed: float
    """Operations in products of matrices, forward, per edge and channel, as PyTorch
    counts them."""
    moved: float
    """Bytes that the forward product reads and writes, per edge and channel."""
    times: Mapping[str, Timing]
    """Of each of `STEPS`, in seconds for all edges."""
    memory: Mapping[str, int]
    """Peak of each of `STEPS` in bytes, beyond the operands."""


@dataclass(frozen=True)
class Result:
    """All that was found."""

    settings: Settings
    abilities: tuple[Ability, ...]
    costs: tuple[Cost, ...]
    absent: Mapping[str, str]
    """Backends that are not installed, and why."""


def measure(
    settings: Settings, progress: Callable[[str], None] = lambda _: None
) -> Result:
    """Examine and time every product that can be computed here.

    Args:
        settings: What to measure.
        progress: Called with what is being done.

    Returns:
        Findings in the order of degrees, then of `FAMILIES`.
    """
    abilities: list[Ability] = []
    costs: list[Cost] = []
    absent: dict[str, str] = {}
    edges = exactly(settings.edges)
    for lmax in settings.lmax:
        found, missing = members(lmax)
        absent |= missing
        progress(f"couplings to degree {lmax}")
        abilities += [*_abilities(found, lmax), _matrix_ability(lmax)]
        for channels in settings.channels:
            progress(f"times to degree {lmax} with {channels} channels")
            costs += _costs(found, lmax, channels, edges, settings)
    return Result(settings, tuple(abilities), tuple(costs), absent)


def _abilities(found: Sequence[Member], lmax: int) -> list[Ability]:
    """One for each set of backends that compute the same function."""
    out = []
    for family in dict.fromkeys(member.family for member in found):
        own = [member for member in found if member.family == family]
        for group in _equal([(m, *_coefficients(m)) for m in own]):
            (first, values, _), scale = group[0], float(group[0][1].abs().max())
            out.append(
                Ability(
                    family.title,
                    tuple(member.backend for member, _, _ in group),
                    lmax,
                    max(float((v - values).abs().max()) for _, v, _ in group) / scale,
                    max(residual for _, _, residual in group) / scale,
                    expressivity(first.product),
                )
            )
    return out


def _matrix_ability(lmax: int) -> Ability:
    """The matrix product, which nobody here computes."""
    return Ability(MATRIX, (), lmax, 0.0, 0.0, matrix_expressivity(lmax))


Found = tuple[Member, Float64[Tensor, "triples channels"], float]
"""A product, its coefficients, and what is left of it."""


def _coefficients(member: Member) -> tuple[Float64[Tensor, "triples channels"], float]:
    generator = torch.Generator().manual_seed(0)
    parameters = random_parameters(member.product.spec, 1, generator)
    values, residual = path_coefficients(member.product, parameters)
    return values, float(residual)


def _equal(found: Sequence[Found]) -> list[list[Found]]:
    """Products in groups of equal coefficients."""
    groups: list[list[Found]] = []
    for item in found:
        for group in groups:
            reference = group[0][1]
            if (item[1] - reference).abs().max() < ZERO * reference.abs().max():
                group.append(item)
                break
        else:
            groups.append([item])
    return groups


def _costs(
    found: Sequence[Member], lmax: int, channels: int, edges: Edges, settings: Settings
) -> list[Cost]:
    calls = {
        (member, step): call
        for member in found
        for step, call in _calls(member, channels, edges, settings.dtype).items()
    }
    names = {f"{m.family.title}/{m.backend}/{s}": (m, s) for m, s in calls}
    samples = take_turns(
        {name: calls[key] for name, key in names.items()},
        rounds=ROUNDS,
        seconds=settings.seconds,
    )
    times = {key: summarize(samples[name]) for name, key in names.items()}
    pairs = len(edges.directions) * channels
    return [
        Cost(
            member.family.title,
            member.backend,
            lmax,
            channels,
            relative_error(member.product, torch.float64),
            relative_error(member.product, settings.dtype),
            operations(member.backend, member.product.spec),
            matrix_operations(calls[member, "forward"]) / pairs,
            moved_bytes(calls[member, "forward"]) / pairs,
            {step: times[member, step] for step in STEPS},
            {step: peak_memory(calls[member, step]) for step in STEPS},
        )
        for member in found
    ]


def _calls(
    member: Member, channels: int, edges: Edges, dtype: torch.dtype
) -> dict[str, Callable[[], object]]:
    """Each of `STEPS`, ready to be timed."""
    convolution = bind(member.product, edges.connectivity)
    x, weights = random_operands(member.product.spec, edges.connectivity, channels)
    generator = torch.Generator().manual_seed(1)
    shape = (len(x), member.product.spec.num_outputs, channels)
    cotangent = torch.randn(shape, generator=generator, dtype=torch.float64)
    operands = Operands(
        *(t.to(dtype) for t in (x, edges.directions, weights, cotangent))
    )
    return {
        step: partial(function, convolution, operands)
        for step, function in STEPS.items()
    }
