"""Implementations of a convolution: their operands, errors and timed steps."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from equipot.bench.graphs import Edges
from equipot.bench.steps import STEPS, Convolution, Operands, bind, forward_backward
from equipot.so3 import spherical_harmonics
from equipot.tensor_products import ClebschGordan, TensorProductSpec
from equipot.tensor_products.random_operands import random_operands

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Variant:
    """One implementation of a convolution."""

    name: str
    spec: TensorProductSpec
    convolution: Convolution
    """From features, harmonics or directions, and weights, in its own layout."""
    takes_harmonics: bool = False
    """Whether it is given harmonics; else it starts from directions."""
    to_own: Callable[[Tensor], Tensor] = lambda tensor: tensor
    """Our features in its layout."""
    from_own: Callable[[Tensor], Tensor] = lambda tensor: tensor
    """Its messages in our layout."""
    dtype: torch.dtype = torch.float32


def deviation(
    variant: Variant, edges: Edges, channels: int, device: torch.device = CPU
) -> float:
    """Largest deviation from the reference in float64, over its largest value.

    Args:
        variant: On the device.
        edges: On the CPU; those that the variant was made for.
        channels: Number of channels per degree.
        device: Of the variant.

    Returns:
        Of the messages and of the gradients by the weights, whose layout all share.
    """
    generator = torch.Generator().manual_seed(0)
    x, weights = random_operands(variant.spec, edges.connectivity, channels, generator)
    own = _operands(variant, edges, device, x, weights)
    messages = variant.convolution(*own[:3])
    *_, gradient = forward_backward(variant.convolution, own)
    cotangent = variant.from_own(own.cotangent).double().cpu()
    reference = bind(ClebschGordan(variant.spec), edges.connectivity)
    exact = Operands(x, edges.directions, weights, cotangent)
    *_, expected = forward_backward(reference, exact)
    return max(
        _relative(variant.from_own(messages), reference(*exact[:3])),
        _relative(gradient, expected),
    )


def steps_of(
    own: Iterable[Variant], edges: Edges, channels: int, device: torch.device = CPU
) -> dict[tuple[str, str], Callable[[], object]]:
    """Calls by variant and step; variants of one spec share features and weights."""
    shared: dict[TensorProductSpec, tuple[Tensor, Tensor]] = {}
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    for v in own:
        if v.spec not in shared:
            generator = torch.Generator(device).manual_seed(0)
            shared[v.spec] = random_operands(
                v.spec, edges.connectivity, channels, generator, torch.float32
            )
        operands = _operands(v, edges, device, *shared[v.spec])
        for step, function in STEPS.items():
            calls[v.name, step] = partial(function, v.convolution, operands)
    return calls


def _operands(
    variant: Variant, edges: Edges, device: torch.device, x: Tensor, weights: Tensor
) -> Operands:
    """Operands in the layout, type and device of a variant, with a random cotangent."""
    spec, geometry = variant.spec, edges.directions
    if variant.takes_harmonics:
        geometry = spherical_harmonics(spec.lmax_filter, geometry)
    generator = torch.Generator(device).manual_seed(1)
    shape = (len(x), spec.num_outputs, x.shape[2])
    cotangent = torch.randn(shape, generator=generator, device=device)
    own = (variant.to_own(x), geometry, weights, variant.to_own(cotangent))
    return Operands(*(t.to(device, variant.dtype) for t in own))


def _relative(found: Tensor, expected: Tensor) -> float:
    difference = found.detach().double().cpu() - expected
    return float(difference.abs().max() / expected.abs().max())
