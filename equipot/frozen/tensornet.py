r"""Translation of TensorNet.

A matrix has nine components in an orthonormal basis: its trace, its antisymmetric part
and its symmetric traceless part are of degrees 0, 1 and 2. With harmonics :math:`Y` of
a unit vector :math:`n`, the matrices of an edge are

.. math:: 1 = \sqrt{3} \, Y^0, \qquad
          [n]_\times = \sqrt{2/3} \, Y^1, \qquad
          n n^T - 1/3 = \sqrt{2/15} \, Y^2.
"""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from equipot.frozen.builder import Block
from equipot.frozen.lowering import Lowering, coupling_of
from equipot.frozen.radial import Radial
from equipot.models.architectures.tensornet import (
    Embedding,
    Interaction,
    Invariants,
    TensorLinear,
    TensorNet,
)
from equipot.models.architectures.tensornet import Radial as RadialValues
from equipot.models.message_passing import plain_silu
from equipot.so3 import degree_of_component, num_components
from equipot.tensor_products import TensorProductSpec

LMAX = 2
"""Highest degree of the parts of a matrix."""
EDGE_MATRICES = (3**0.5, (2 / 3) ** 0.5, (2 / 15) ** 0.5)
"""Factors of the harmonics in the matrices of an edge."""
MESSAGES = TensorProductSpec(LMAX, 0, LMAX)
"""Features times functions of the length, one function for each degree."""


def lower_tensornet(lowering: Lowering, backbone: TensorNet) -> list[list[Block]]:
    """Scalars of each layer that energies are read from.

    Args:
        lowering: State of the translation.
        backbone: Backbone in float64.
    """
    at_zero = backbone.at_zero(torch.empty(0, 1, dtype=torch.float64))
    layers = [_embedding(lowering, backbone.embedding, at_zero)]
    for interaction in backbone.interactions:
        x = _interaction(lowering, cast(Interaction, interaction), layers[-1], at_zero)
        layers.append(x)
    unread = len(layers) - len(backbone.invariants)
    return [
        [_invariants(lowering, cast(Invariants, invariants), x)]
        for invariants, x in zip(backbone.invariants, layers[unread:], strict=True)
    ]


def _embedding(
    lowering: Lowering, embedding: Embedding, at_zero: RadialValues
) -> list[Block]:
    """Matrices of the embedding.

    Radial functions are linear combinations of few, whose sums over the edges from each
    element, times harmonics, are formed first.
    """
    builder, channels = lowering.builder, embedding.pairs.out_features
    radial = _radial([embedding.radial])
    functions, combinations = lowering.radial.low_rank(radial, lambda values: values)
    per_degree = combinations.unflatten(1, (LMAX + 1, channels))
    pairs = _pair_scalars(lowering, embedding)
    moments = builder.moments(functions)
    part = num_components(builder.lmax) * moments[0].stride
    x = builder.blocks([channels], LMAX)
    for degree, factor in enumerate(EDGE_MATRICES):
        weights = torch.einsum("kc,rsc->rskc", factor * per_degree[:, degree], pairs)
        builder.linear(moments[degree], x[degree], weights, part_stride=part)
    itself = radial(*at_zero, plain_silu)[0, :channels]
    own = pairs.diagonal(dim1=0, dim2=1).T * itself
    builder.embed(x[0], EDGE_MATRICES[0] * own, add=True)
    return _weighted(lowering, embedding, x)


def _pair_scalars(
    lowering: Lowering, embedding: Embedding
) -> Float64[Tensor, "receivers senders channels"]:
    """Scalars of each pair of elements."""
    z = lowering.of_present(embedding.elements.weight)
    of_receivers, of_senders = embedding.pairs.weight.T.chunk(2)
    receivers, senders = z @ of_receivers, z @ of_senders
    return receivers[:, None] + senders[None] + embedding.pairs.bias


def _weighted(lowering: Lowering, embedding: Embedding, x: list[Block]) -> list[Block]:
    """Mixed matrices whose parts are multiplied by functions of the norms."""
    builder, channels = lowering.builder, x[0].channels
    norms = builder.blocks([channels])
    builder.squares(_whole(x), norms[0])
    (normalized,) = _layer_norm(lowering, embedding.norm, norms)
    logits = lowering.affine(normalized, embedding.hidden)
    (hidden,) = builder.blocks([logits.channels])
    builder.activate(logits, hidden, "silu", 1.0)
    mixed = _mixed(lowering, x, embedding.mix)
    factors = builder.blocks_of([(0, channels)] * len(x))
    out = builder.blocks([channels], LMAX)
    weights = embedding.factors.weight.unflatten(0, (-1, channels))
    biases = embedding.factors.bias.unflatten(0, (-1, channels))
    for factor, weight, bias in zip(factors, weights, biases, strict=True):
        builder.linear(hidden, factor, weight.T[None, None])
        lowering.add_vector(factor, bias)
    for part, factor, to in zip(mixed, factors, out, strict=True):
        builder.gate(part, factor, to, "silu", 1.0)
    return out


def _interaction(
    lowering: Lowering, interaction: Interaction, x: list[Block], at_zero: RadialValues
) -> list[Block]:
    """Matrices after an interaction.

    The update is added to the buffer of the matrices before, whose values no derivative
    of their reader needs.
    """
    builder, channels = lowering.builder, x[0].channels
    radial = _radial(interaction.radial)
    out = _shrunk(lowering, x)
    y = _mixed(lowering, out, interaction.mix_in)
    padded = builder.padded(channels)

    def columns(values: Tensor) -> Tensor:
        of_degrees = values.unflatten(1, (-1, channels))
        return nn.functional.pad(of_degrees, (0, padded - channels)).flatten(1)

    functions = lowering.radial.full(radial, columns)
    message = builder.convolve(y[0].buffer, coupling_of(MESSAGES), functions, padded)
    if (itself := radial(*at_zero, plain_silu).view(-1, channels)).any():
        factors = itself[degree_of_component(LMAX)]
        builder.accumulate(y[0].buffer, message, factors)
    product = builder.blocks([channels], LMAX)
    builder.matrix_product(message, y[0].buffer, product[0].buffer, 1.0)
    update = _mixed(lowering, _shrunk(lowering, product), interaction.mix_out)[0].buffer
    ones = torch.ones(num_components(LMAX), channels, dtype=torch.float64)
    builder.accumulate(update, out[0].buffer, ones)
    builder.matrix_product(update, update, out[0].buffer, 0.5, add=True)
    return out


def _invariants(lowering: Lowering, invariants: Invariants, x: list[Block]) -> Block:
    """Scalars from the norms of the parts of matrices."""
    builder, channels = lowering.builder, x[0].channels
    norms = builder.blocks_of([(0, channels)] * len(x))
    for part, norm in zip(x, norms, strict=True):
        builder.squares(part, norm)
    normalized = _layer_norm(lowering, invariants.norm, norms)
    linear = invariants.linear
    (out,) = builder.blocks([channels])
    matrices = linear.weight.T.unflatten(0, (-1, channels))[None]
    builder.linear(normalized[0], out, matrices, part_stride=builder.padded(channels))
    lowering.add_vector(out, linear.bias)
    if not invariants.activation:
        return out
    (activated,) = builder.blocks([channels])
    builder.activate(out, activated, "silu", 1.0)
    return activated


def _mixed(lowering: Lowering, x: list[Block], mix: TensorLinear) -> list[Block]:
    """Matrices whose parts are mixed."""
    out = lowering.builder.blocks([mix.weight.shape[2]], LMAX)
    for part, to, matrix in zip(x, out, mix.weight, strict=True):
        lowering.builder.linear(part, to, matrix[None, None])
    return out


def _shrunk(lowering: Lowering, x: list[Block]) -> list[Block]:
    """Matrices divided by one plus their squared norm."""
    builder, channels = lowering.builder, x[0].channels
    (norms,) = builder.blocks([channels])
    builder.squares(_whole(x), norms)
    out = builder.blocks([channels], LMAX)
    builder.gate(_whole(x), norms, _whole(out), "inverse", 1.0)
    return out


def _layer_norm(lowering: Lowering, norm: nn.LayerNorm, x: list[Block]) -> list[Block]:
    """Layer normalization of scalars, all blocks of a buffer."""
    out = lowering.builder.blocks_of([(0, block.channels) for block in x])
    (count,) = norm.normalized_shape
    lowering.builder.normalize(
        x,
        out,
        [1 / count] * len(x),
        list(norm.weight.chunk(len(x))),
        norm.eps,
        centered=True,
    )
    for block, bias in zip(out, norm.bias.chunk(len(x)), strict=True):
        lowering.add_vector(block, bias)
    return out


def _whole(x: list[Block]) -> Block:
    """All components of matrices as one block."""
    return x[0]._replace(components=num_components(LMAX))


def _radial(parts: Iterable[nn.Module]) -> Radial:
    """Values of the parts of an MLP, one after the other, times the envelope."""

    def radial(
        basis: Tensor, envelope: Tensor, activation: Callable[[Tensor], Tensor]
    ) -> Tensor:
        for part in parts:
            basis = activation(basis) if isinstance(part, nn.SiLU) else part(basis)
        return basis * envelope

    return radial
