"""Expressivity and interactability: what a product can become by learning.

Source:
    Y. Xie, A. Daigavane, M. Kotak, T. Smidt, "The Price of Freedom", ICML 2025
    (arXiv 2506.13523).
"""

from collections.abc import Callable
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

Coefficients = Callable[[Parameters], Float64[Tensor, "triples channels"]]
"""Coefficients of a product in terms of Wigner 3j symbols, from its parameters."""

ZERO: Final = 1e-9
"""Relative size below which coefficients and singular values are rounding: exact zeros
come out at 1e-14, the smallest that are none at 1e-4."""

MOST_CHANNELS: Final = 16
"""Channels up to which expressivity is followed."""


@dataclass(frozen=True)
class Expressivity:
    """What a product can become by learning."""

    interacting: tuple[Path, ...]
    """Couplings that can be other than zero."""
    impossible: tuple[Path, ...]
    """Couplings that rotations allow and that are zero whatever the weights."""
    ranks: tuple[int, ...]
    """Dimension of the set of coefficients that can be reached with 1, 2, ... channels,
    until all interacting couplings are free or `MOST_CHANNELS` are reached."""

    @property
    def single(self) -> int:
        """Dimension with one channel."""
        return self.ranks[0]

    @property
    def mixed(self) -> int:
        """Dimension with as many channels as it takes."""
        return self.ranks[-1]

    @property
    def channels(self) -> int:
        """Channels that it takes."""
        return len(self.ranks)


def expressivity(product: TensorProduct[Any], *, seed: int = 0) -> Expressivity:
    """Expressivity of a backend, found by applying it in float64.

    Args:
        product: Backend to examine.
        seed: Of the parameters at which it is examined.
    """
    spec = product.spec
    generator = torch.Generator().manual_seed(seed)
    return examine(
        lambda parameters: path_coefficients(product, parameters)[0],
        random_parameters(spec, MOST_CHANNELS, generator),
        triples(spec.lmax_in, spec.lmax_filter, spec.lmax_out),
    )


def examine(
    coefficients: Coefficients, parameters: Parameters, allowed: tuple[Path, ...]
) -> Expressivity:
    r"""Expressivity of a family of bilinear maps.

    Interactability: the triples whose coefficient is not zero at random parameters.
    Expressivity: the dimension of the set of maps that linear layers before and after
    make of the product; it is the rank of the derivative of the coefficients by the
    parameters where these are generic. With n channels the maps are sums,
    :math:`W_p = \sum_{c \le n} W_p(\theta_c)`, their derivatives side by side.

    Args:
        coefficients: Map from parameters to coefficients; polynomial.
        parameters: Random ones, of as many channels as are followed.
        allowed: Triple of each coefficient.

    Source:
        The Price of Freedom, definitions of expressivity and interactability.
    """
    leaves = Parameters(*(p.detach().requires_grad_() for p in parameters))
    values = coefficients(leaves)
    sizes = values.detach().abs().amax(1)
    nonzero = (sizes > ZERO * sizes.max()).tolist()
    derivative = _derivative(values, leaves)
    interacting = tuple(t for t, found in zip(allowed, nonzero, strict=True) if found)
    ranks: list[int] = []
    while len(ranks) < values.shape[1]:
        ranks.append(_rank(derivative[:, :, : len(ranks) + 1].flatten(1)))
        if ranks[-1] == len(interacting):
            break
    return Expressivity(
        interacting,
        tuple(t for t, found in zip(allowed, nonzero, strict=True) if not found),
        tuple(ranks),
    )


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
