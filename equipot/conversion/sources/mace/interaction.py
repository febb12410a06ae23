"""Interactions and products of MACE: one layer of the network."""

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor

from equipot.conversion.errors import ConversionError
from equipot.conversion.module_account import Part
from equipot.conversion.sources.mace.contraction import contraction_weights
from equipot.conversion.sources.mace.e3nn_maps import (
    Convolution,
    convolution,
    element_linear,
    equal_channels,
    linear,
    mlp,
)
from equipot.node_products import NodeProductSpec
from equipot.tensor_products import TensorProductSpec

Kind = Literal["plain", "residual", "density", "density_residual"]
KINDS: Final[dict[str, Kind]] = {
    "RealAgnosticInteractionBlock": "plain",
    "RealAgnosticResidualInteractionBlock": "residual",
    "RealAgnosticDensityInteractionBlock": "density",
    "RealAgnosticDensityResidualInteractionBlock": "density_residual",
}
"""Values of ``first_interaction`` and ``other_interactions`` by class."""


@dataclass(frozen=True)
class Context:
    """What all layers share."""

    channels: int
    """Of features and messages."""
    rows: list[int]
    """Of the elements of the file in the order of equipot."""
    lmax: int
    """Highest degree of harmonics and messages."""
    num_basis: int
    """Radial functions."""
    basis_factor: float
    """Of the radial functions of the file, relative to those of equipot."""


@dataclass(frozen=True)
class Layer:
    """One layer in terms of equipot."""

    kind: Kind
    neighbors: float
    """Constant that the messages of the file are divided by."""
    channels_sent: int
    lmax_sent: int
    lmax_out: int
    """Highest degree of the features after the layer that are read."""
    correlation: int
    shared_polynomials: bool
    radial_hidden: tuple[int, ...]
    weights: dict[str, Tensor]
    """By the names of `equipot.models.architectures.mace.MACELayer`; messages are not
    divided by anything yet."""


def read_layer(
    interaction: Part, product: Part, context: Context, lmax_in: int, *, last: bool
) -> Layer:
    """A layer from its interaction and its product.

    Args:
        interaction: An ``InteractionBlock``.
        product: An ``EquivariantProductBasisBlock``.
        context: What all layers share.
        lmax_in: Highest degree of the features before it.
        last: Whether only scalars are read after it.

    Raises:
        ConversionError: If it is not accounted for in full.
    """
    kind = KINDS[interaction.kind]
    for name in ("cueq_config", "oeq_config"):
        interaction.flags.expect(name, None, default=None)
    _, lmax_out = equal_channels(
        product.part("linear", "Linear").flags.take("irreps_out"), product.path
    )
    lmax_out = 0 if last else lmax_out
    sent, weights = _convolution(interaction, context, lmax_in)
    if kind.startswith("density"):
        weights["density.linear.weight"] = _density(
            interaction.part("density_fn", "FullyConnectedNet"), context
        )
    weights["element_linear.weight"] = _element_linear(
        interaction.part("skip_tp", "FullyConnectedTensorProduct"),
        context,
        min(lmax_in, lmax_out) if kind.endswith("residual") else context.lmax,
    )
    correlation, shared, of_product = _product(product, kind, context, lmax_out)
    hidden = [w for name, w in weights.items() if name.startswith("radial.hidden")]
    return Layer(
        kind=kind,
        neighbors=_neighbors(interaction),
        channels_sent=sent.channels,
        lmax_sent=sent.lmax,
        lmax_out=lmax_out,
        correlation=correlation,
        shared_polynomials=shared,
        radial_hidden=tuple(len(weight) for weight in hidden),
        weights={**weights, **of_product},
    )


class Sent(NamedTuple):
    """Features that an atom sends to its neighbors."""

    channels: int
    lmax: int


def _convolution(
    interaction: Part, context: Context, lmax_in: int
) -> tuple[Sent, dict[str, Tensor]]:
    """Weights of a convolution, from the features before it to the messages."""
    matrices = linear(interaction.part("linear_up", "Linear")).by_degree()
    paths = convolution(interaction.part("conv_tp", "TensorProduct"), context.lmax)
    sent = Sent(paths.channels, len(matrices) - 1)
    shape = (context.channels, sent.channels)
    if sent.lmax > lmax_in or any(matrix.shape != shape for matrix in matrices):
        raise ConversionError(f"{interaction.path} does not continue the layer before")
    spec = TensorProductSpec(sent.lmax, context.lmax, context.lmax, accumulate="concat")
    if sorted(paths.paths) != sorted(spec.paths):
        raise ConversionError(
            f"{interaction.path}.conv_tp has {len(paths.paths)} paths, expected the "
            f"{len(spec.paths)} of degrees up to {sent.lmax} and {context.lmax}"
        )
    radial = mlp(
        interaction.part("conv_tp_weights", "FullyConnectedNet"), context.num_basis
    )
    _check_reshape(interaction, context)
    return sent, {
        "linear_in.weight": torch.stack(matrices),
        **_radial(radial, paths, spec, context),
        **_path_linear(interaction.part("linear", "Linear"), paths, spec, context),
    }


def _radial(
    matrices: list[Tensor],
    paths: Convolution,
    spec: TensorProductSpec,
    context: Context,
) -> dict[str, Tensor]:
    """Radial MLP, with columns in the order of the paths of equipot."""
    *hidden, last = matrices
    if last.shape[1] != len(paths.paths) * paths.channels:
        raise ConversionError(
            f"radial MLP with {last.shape[1]} results for {len(paths.paths)} paths of "
            f"{paths.channels} channels"
        )
    columns = last.unflatten(1, (len(paths.paths), paths.channels))
    columns = columns * torch.tensor(paths.factors, dtype=last.dtype)[:, None]
    order = [paths.paths.index(path) for path in spec.paths]
    all_matrices = [*hidden, columns[:, order].flatten(1)]
    all_matrices[0] = all_matrices[0] * context.basis_factor
    names = [f"radial.hidden.{n}.weight" for n in range(len(hidden))]
    return {
        name: matrix.T.contiguous()
        for name, matrix in zip(
            [*names, "radial.output.weight"], all_matrices, strict=True
        )
    }


def _path_linear(
    part: Part, paths: Convolution, spec: TensorProductSpec, context: Context
) -> dict[str, Tensor]:
    """Map of the results of all paths, in the order of the paths of equipot."""
    found = linear(part)
    place_of = dict(zip(paths.paths, paths.places, strict=True))
    expected = {(place_of[path], path.l_out) for path in spec.paths}
    if found.matrices.keys() != expected or found.irreps_in != paths.results:
        raise ConversionError(f"{part.path} does not read each path once")
    if {irrep.channels for irrep in found.irreps_out} != {context.channels}:
        raise ConversionError(f"{part.path} changes the number of channels")
    return {
        f"path_linear.weights.{degree}": torch.cat(
            [
                found.matrices[place_of[path], degree]
                for path in spec.paths
                if path.l_out == degree
            ]
        )
        for degree in range(spec.lmax_out + 1)
    }


def _element_linear(part: Part, context: Context, lmax: int) -> Tensor:
    """Matrices of the elements up to a degree; those above reach no energy."""
    found = element_linear(part, len(context.rows)).by_degree()
    if len(found) <= lmax or found[0].shape[1:] != (context.channels,) * 2:
        raise ConversionError(f"{part.path} has matrices of other sizes than expected")
    return torch.stack(found[: lmax + 1], dim=1)[context.rows]


def _product(
    part: Part, kind: Kind, context: Context, lmax_out: int
) -> tuple[int, bool, dict[str, Tensor]]:
    """Correlation, whether elements share weights, and the weights of a product."""
    flags = part.flags
    flags.expect("cueq_config", None, default=None)
    flags.expect("use_sc", True if kind.endswith("residual") else (True, False))
    shared = flags.expect("use_agnostic_product", (True, False), default=False)
    contraction = part.part("symmetric_contractions", "SymmetricContraction")
    first = contraction.part("contractions.0", "Contraction")
    correlation = first.flags.expect("correlation", (1, 2, 3, 4))
    spec = NodeProductSpec(context.lmax, lmax_out, correlation)
    rows = 1 if shared else len(context.rows)
    weights = contraction_weights(contraction, spec, rows, context.channels)
    mixing = linear(part.part("linear", "Linear")).by_degree()
    if mixing[0].shape != (context.channels,) * 2 or len(mixing) <= lmax_out:
        raise ConversionError(f"{part.path}.linear has other sizes than expected")
    return (
        correlation,
        shared,
        {
            "polynomial_weights": weights if shared else weights[context.rows],
            "linear_out.weight": torch.stack(mixing[: lmax_out + 1]),
        },
    )


def _neighbors(part: Part) -> float:
    """The constant ``avg_num_neighbors``."""
    value = part.flags.take("avg_num_neighbors")
    value = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConversionError(f"avg_num_neighbors of {part.path} is no number")
    if not (math.isfinite(value) and value > 0):
        raise ConversionError(f"avg_num_neighbors of {part.path} is {value}")
    return float(value)


def _check_reshape(interaction: Part, context: Context) -> None:
    """Messages of all degrees side by side, which are what is multiplied."""
    reshape = interaction.part("reshape", "reshape_irreps")
    reshape.flags.expect("cueq_config", None, default=None)
    found = equal_channels(reshape.flags.take("irreps"), reshape.path)
    if found != (context.channels, context.lmax):
        raise ConversionError(
            f"{interaction.path} has messages of {found[0]} channels of degrees up to "
            f"{found[1]}, expected {context.channels} and {context.lmax}"
        )


def _density(part: Part, context: Context) -> Tensor:
    """Weights ``(1, num_basis)`` of a density, a linear map to one number."""
    matrices = mlp(part, context.num_basis)
    if len(matrices) != 1 or matrices[0].shape[1] != 1:
        raise ConversionError(f"{part.path} is not a linear map to one number")
    return matrices[0].T * context.basis_factor
