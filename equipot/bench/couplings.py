"""Couplings that a product consists of, found by applying it to unit vectors."""

from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from equipot.graph.connectivity import Connectivity
from equipot.so3 import (
    degree_of_component,
    degree_slice,
    num_components,
    spherical_harmonics,
    wigner_3j,
)
from equipot.tensor_products import Path, TensorProduct, TensorProductSpec

DIRECTION = (0.36, 0.48, 0.8)
"""Unit vector of the edge; generic, so that no harmonic is zero."""


class Parameters(NamedTuple):
    """Free parameters of a product and of the linear maps before and after it.

    A map that commutes with rotations multiplies each degree by a number. Channels are
    independent products, which such maps mix before and after.
    """

    before: Float64[Tensor, "degrees_in channels"]
    """Factor on each degree of the features."""
    weights: Float64[Tensor, "num_weights channels"]
    """Weights of the product."""
    after: Float64[Tensor, "blocks channels"]
    """Factor on each block of the messages."""


def random_parameters(
    spec: TensorProductSpec, channels: int, generator: torch.Generator
) -> Parameters:
    """Normally distributed parameters of a product."""
    rows = (spec.lmax_in + 1, spec.num_weights, len(message_blocks(spec)))
    return Parameters(
        *(
            torch.randn(n, channels, generator=generator, dtype=torch.float64)
            for n in rows
        )
    )


@cache
def triples(lmax_in: int, lmax_filter: int, lmax_out: int) -> tuple[Path, ...]:
    """All couplings that rotations allow, of even and of odd l1 + l2 + l3."""
    return TensorProductSpec(lmax_in, lmax_filter, lmax_out, symmetry="SO(3)").paths


def message_blocks(spec: TensorProductSpec) -> tuple[int, ...]:
    """Degree of each block of the messages."""
    if spec.accumulate == "sum":
        return tuple(range(spec.lmax_out + 1))
    return tuple(path.l_out for path in spec.paths)


def path_coefficients(
    product: TensorProduct[Any], parameters: Parameters
) -> tuple[Float64[Tensor, "triples channels"], Float64[Tensor, ""]]:
    r"""Coefficients of a product in terms of Wigner 3j symbols.

    For one direction n, the matrices :math:`M^p_{ik} = \sum_j C^{l_1 l_2 l_3}_{ijk}
    Y^{l_2}_j(n)` of all triples p are orthonormal. A product of features with the
    harmonics of n is a matrix as well, found by applying it to every unit vector; its
    coefficients are the overlaps.

    Args:
        product: Backend to examine.
        parameters: Of the product; channels are a batch.

    Returns:
        coefficients: One for each of `triples`, also for those not in `spec.paths`.
        residual: Largest element of the matrix that is no combination of couplings: a
            violation of rotational symmetry, or harmonics beyond the filter.
    """
    spec = product.spec
    rows = num_components(spec.lmax_in)
    degrees = degree_of_component(spec.lmax_in)
    units = torch.eye(rows, dtype=torch.float64)[:, :, None]
    edge_state = product.prepare(
        torch.tensor(DIRECTION, dtype=torch.float64).expand(rows, 3),
        Connectivity(torch.arange(rows).expand(2, rows), rows),
    )
    messages = product(
        units * parameters.before[degrees],
        edge_state,
        parameters.weights.expand(rows, -1, -1),
    )
    matrix = _sum_blocks(spec, messages, parameters.after)
    basis = _basis(spec.lmax_in, spec.lmax_filter, spec.lmax_out)
    coefficients = torch.einsum("tik,ikc->tc", basis, matrix)
    residual = matrix - torch.einsum("tik,tc->ikc", basis, coefficients)
    return coefficients, residual.abs().max()


@cache
def _basis(
    lmax_in: int, lmax_filter: int, lmax_out: int
) -> Float64[Tensor, "triples sph_in sph_out"]:
    """Matrices M of all triples."""
    found = triples(lmax_in, lmax_filter, lmax_out)
    direction = torch.tensor([DIRECTION], dtype=torch.float64)
    y = spherical_harmonics(lmax_filter, direction)[0]
    out = torch.zeros(
        len(found),
        num_components(lmax_in),
        num_components(lmax_out),
        dtype=torch.float64,
    )
    for n, path in enumerate(found):
        matrix = torch.einsum(
            "ijk,j->ik", wigner_3j(*path), y[degree_slice(path.l_filter)]
        )
        out[n, degree_slice(path.l_in), degree_slice(path.l_out)] = matrix
    return out


def _sum_blocks(
    spec: TensorProductSpec,
    messages: Float[Tensor, "rows num_outputs channels"],
    after: Float[Tensor, "blocks channels"],
) -> Float[Tensor, "rows sph_out channels"]:
    """Weighted sum of the blocks of each degree."""
    degrees = message_blocks(spec)
    blocks = messages.split([2 * degree + 1 for degree in degrees], dim=1)
    sums = [
        torch.zeros_like(blocks[degrees.index(n)]) for n in range(spec.lmax_out + 1)
    ]
    for degree, block, factor in zip(degrees, blocks, after, strict=True):
        sums[degree] = sums[degree] + block * factor
    return torch.cat(sums, dim=1)
