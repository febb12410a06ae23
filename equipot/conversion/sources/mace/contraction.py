"""Symmetric contractions of MACE in the basis of `equipot.node_products`.

MACE stores couplings U of n equal factors beside their weights. Whether they are
independent depends on the version; only their symmetric parts act. These are projected
on the orthonormal basis of all symmetric couplings: an exact, constant linear map of
the weights, whatever the basis in the file.
"""

import itertools

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from equipot.conversion.errors import ConversionError
from equipot.conversion.module_account import Part
from equipot.conversion.sources.mace.e3nn_maps import equal_channels, natural_channels
from equipot.node_products import NodeProductSpec
from equipot.node_products.couplings import coupling_polynomials
from equipot.node_products.polynomials import monomials
from equipot.node_products.scales import coupling_scales
from equipot.so3 import num_components

TOLERANCE = 1e-10
"""Largest part of couplings in float64 that may lie outside of the basis: rounding."""
TOLERANCE_FLOAT32 = 1e-6
"""The same for couplings that were rounded to float32."""
CODE = "generated code, never run; the couplings of the file define the contraction"


def contraction_weights(
    part: Part, spec: NodeProductSpec, num_elements: int, channels: int
) -> Float64[Tensor, "rows num_weights channels"]:
    """Weights of a node product from a ``SymmetricContraction``.

    Args:
        part: Of the file.
        spec: The node product. The contraction may have results of higher degrees,
            which are not read.
        num_elements: Rows of its weights: elements, or one that all share.
        channels: Of the features.

    Raises:
        ConversionError: If it is another contraction, or couplings in it are not
            equivariant.
    """
    part.flags.expect("internal_weights", True)
    part.flags.expect("shared_weights", (None, True))
    features = equal_channels(part.flags.take("irreps_in"), part.path)
    _, lmax_out = equal_channels(part.flags.take("irreps_out"), part.path)
    if features != (channels, spec.lmax_in) or lmax_out < spec.lmax_out:
        raise ConversionError(
            f"{part.path} multiplies {features[0]} channels of degrees up to "
            f"{features[1]}, expected {channels} and {spec.lmax_in}"
        )
    contractions = [
        part.part(f"contractions.{degree}", "Contraction")
        for degree in range(lmax_out + 1)
    ]
    for contraction in contractions:
        _check(contraction, spec, channels)
    for contraction in contractions[spec.lmax_out + 1 :]:
        contraction.without_effect(
            "*", "features of the last layer above degree 0 are not read"
        )
    of_spec = {
        (block.irrep.degree, block.order): (block.irrep, scales)
        for block, scales in zip(spec.blocks, coupling_scales(spec), strict=True)
    }
    out = []
    for degree, order in itertools.product(range(spec.lmax_out + 1), spec.orders):
        part = contractions[degree]
        weights, couplings = _read(part, spec, order, degree, (num_elements, channels))
        if (
            degree,
            order,
        ) not in of_spec:  # all in the file must be zero
            size = len(monomials(num_components(spec.lmax_in), order))
            _overlap(couplings.new_zeros(0, 2 * degree + 1, size), couplings, part.path)
            continue
        irrep, scales = of_spec[degree, order]
        basis = coupling_polynomials(spec.lmax_in, order, irrep, slice(None))
        overlap = _overlap(basis, couplings, part.path)
        mapped = torch.einsum("qp,epc->eqc", overlap, weights)
        out.append(mapped / scales[None, :, None])
    return torch.cat(out, dim=1)


def symmetric_part(
    couplings: Float64[Tensor, "components *variables couplings"],
) -> Float64[Tensor, "components monomials couplings"]:
    """Tensors of n indices as polynomials, in the basis of `polynomials`.

    Args:
        couplings: With the component of the result as first index, then n indices of
            the factors.
    """
    order, size = couplings.ndim - 2, couplings.shape[1]
    table = monomials(size, order)
    indices = torch.cartesian_prod(*[torch.arange(size)] * order).reshape(-1, order)
    keys, places = _keys(table, size).sort()
    rank = places[torch.searchsorted(keys, _keys(indices.sort(1).values, size))]
    orderings = torch.bincount(rank, minlength=len(table))
    out = couplings.new_zeros(len(couplings), len(table), couplings.shape[-1])
    out = out.index_add(1, rank, couplings.flatten(1, order))
    return out / orderings.to(out).sqrt()[:, None]


def _keys(table: Int[Tensor, "rows order"], size: int) -> Int[Tensor, " rows"]:
    """A number for each row of variables."""
    powers = size ** torch.arange(table.shape[1])
    return (table * powers).sum(1)


def _read(
    part: Part, spec: NodeProductSpec, order: int, degree: int, shape: tuple[int, int]
) -> tuple[
    Float64[Tensor, "rows couplings channels"],
    Float64[Tensor, "components *variables couplings"],
]:
    """Weights and couplings of one number of factors."""
    rows, channels = shape
    couplings = part.take(f"U_matrix_{order}")
    if degree == 0:  # the file leaves out a dimension of size one
        couplings = couplings[None]
    expected = (2 * degree + 1, *[num_components(spec.lmax_in)] * order)
    if tuple(couplings.shape[:-1]) != expected:
        raise ConversionError(
            f"couplings {part.path}.U_matrix_{order} are of {tuple(couplings.shape)}, "
            f"expected {expected} and their number"
        )
    highest = order == spec.order
    name = "weights_max" if highest else f"weights.{spec.order - 1 - order}"
    return part.take(name, (rows, couplings.shape[-1], channels)), couplings


def _check(part: Part, spec: NodeProductSpec, channels: int) -> None:
    """Settings of a contraction, and what has no effect in it."""
    part.flags.expect("correlation", spec.order)
    part.flags.expect("num_features", channels)
    ones = natural_channels(part.flags.take("coupling_irreps"), part.path)
    if ones != [1] * (spec.lmax_in + 1):
        raise ConversionError(f"{part.path} couples other degrees than its messages")
    for name in ("graph_opt_main", "contractions_weighting", "contractions_features"):
        part.ignore(name, CODE)
    part.without_effect(
        "weights_*_zeroed", "follows from the couplings, which are read"
    )


def _overlap(
    basis: Float64[Tensor, "basis components monomials"],
    couplings: Float64[Tensor, "components *variables couplings"],
    where: str,
) -> Float64[Tensor, "basis couplings"]:
    """Coefficients of the symmetric parts of couplings in the basis of all."""
    symmetric = symmetric_part(couplings)
    overlap = torch.einsum("qkm,kmp->qp", basis, symmetric) / len(symmetric)
    left = (torch.einsum("qkm,qp->kmp", basis, overlap) - symmetric).abs()
    rounded = torch.equal(couplings.float().double(), couplings)
    largest = float(left.max()) if left.numel() else 0.0
    if largest > (TOLERANCE_FLOAT32 if rounded else TOLERANCE):
        raise ConversionError(
            f"couplings of {where} differ by {largest:.1e} from equivariant ones"
        )
    return overlap
