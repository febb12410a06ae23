"""Expressivity and interactability of tensor products.

Source:
    Y. Xie, A. Daigavane, M. Kotak, T. Smidt, "The Price of Freedom", ICML 2025
    (arXiv 2506.13523).
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float64
from torch import Tensor

from equipot.bench.couplings import (
    Parameters,
    path_coefficients,
    random_parameters,
    triples,
)
from equipot.tensor_products import Path, TensorProduct

ZERO: Final = 1e-9
"""Relative size below which coefficients and singular values are rounding: exact zeros
come out at 1e-14, the smallest that are none at 1e-4."""

MAX_CHANNELS: Final = 16
"""Channels up to which expressivity is followed."""


@dataclass(frozen=True)
class Expressivity:
    """Bilinear maps that a product can represent with trained weights."""

    interacting: tuple[Path, ...]
    """Couplings that can be nonzero."""
    impossible: tuple[Path, ...]
    """Couplings that rotations allow and that are zero for all weights."""
    ranks: tuple[int, ...]
    """Dimension of the set of coefficients that can be reached with 1, 2, ... channels,
    until all interacting couplings are free or `MAX_CHANNELS` are reached."""

    @property
    def single(self) -> int:
        """Dimension with one channel."""
        return self.ranks[0]

    @property
    def mixed(self) -> int:
        """Dimension with `channels` mixed channels."""
        return self.ranks[-1]

    @property
    def channels(self) -> int:
        """Channels beyond which the dimension is not known to grow."""
        return len(self.ranks)


def expressivity(product: TensorProduct[Any], *, seed: int = 0) -> Expressivity:
    r"""Expressivity of a product, found by applying it in float64.

    Interactability: the triples whose coefficient is not zero at random parameters.
    Expressivity: the dimension of the set of maps that linear layers before and after
    make of the product; it is the rank of the derivative of the coefficients by the
    parameters where these are generic. With n channels the maps are sums,
    :math:`W_p = \sum_{c \le n} W_p(\theta_c)`, their derivatives side by side.

    Args:
        product: Backend to examine.
        seed: Of the parameters.

    Source:
        The Price of Freedom, definitions of expressivity and interactability.
    """
    spec = product.spec
    allowed = triples(spec.lmax_in, spec.lmax_filter, spec.lmax_out)
    generator = torch.Generator().manual_seed(seed)
    random = random_parameters(spec, MAX_CHANNELS, generator)
    leaves = Parameters(*(p.requires_grad_() for p in random))
    values, _ = path_coefficients(product, leaves)
    sizes = values.detach().abs().amax(1)
    nonzero = (sizes > ZERO * sizes.max()).tolist()
    derivative = _derivative(values, leaves)
    interacting = tuple(t for t, found in zip(allowed, nonzero, strict=True) if found)
    ranks: list[int] = []
    while len(ranks) < MAX_CHANNELS:
        ranks.append(_rank(derivative[:, :, : len(ranks) + 1].flatten(1)))
        if ranks[-1] == len(interacting):
            break
    impossible = tuple(t for t in allowed if t not in interacting)
    return Expressivity(interacting, impossible, tuple(ranks))


def _derivative(
    values: Float64[Tensor, "triples channels"], parameters: Parameters
) -> Float64[Tensor, "triples parameters channels"]:
    """Derivative of the coefficients by the parameters of their own channel."""
    rows = []
    for value in values:
        gradients = torch.autograd.grad(
            value.sum(), parameters, retain_graph=True, materialize_grads=True
        )
        rows.append(torch.cat(gradients))
    return torch.stack(rows)


def _rank(matrix: Float64[Tensor, "rows columns"]) -> int:
    singular = torch.linalg.svdvals(matrix)
    return int((singular > ZERO * singular[0]).sum())
