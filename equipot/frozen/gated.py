"""Translation of gated layers, whose features have channels per degree."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from equipot.frozen.builder import Block, Builder
from equipot.frozen.lowering import Lowering, Mix
from equipot.nn import GatedLayer
from equipot.nn.degrees import ElementLinearPerDegree
from equipot.nn.norm import EPSILON
from equipot.nn.parities import FamilyTower, position
from equipot.tensor_products import TensorProduct

Features = list[Block] | Float64[Tensor, "elements channels"]


class ScalarColumns(NamedTuple):
    """Places of the scalars before a gate: those of each factor are whole rows."""

    width: int
    places: Int[Tensor, " scalars"]

    def spread(
        self, matrix: Float64[Tensor, "*rows scalars"]
    ) -> Float64[Tensor, "*rows width"]:
        """Matrix with its columns in these places."""
        out = matrix.new_zeros(*matrix.shape[:-1], self.width)
        out[..., self.places] = matrix
        return out


def lower_gated_layer(
    lowering: Lowering, layer: GatedLayer, x: Features
) -> list[Block]:
    """Features after a gated layer."""
    columns = _scalar_columns(lowering.builder, layer.gate.gated)
    convolution = layer.convolution
    counts = [matrix.shape[1] for matrix in convolution.weights]
    counts[0] = columns.width
    update = lowering.builder.blocks_of(zip(convolution.degrees, counts, strict=True))
    _convolve(lowering, layer, x, update, columns)
    if layer.bias_out is not None:
        lowering.add_vector(update[0], columns.spread(layer.bias_out))
    _add_own(lowering, layer, x, update, columns)
    if layer.norm is not None:
        before = update
        update = lowering.builder.blocks_of(
            zip(convolution.degrees, counts, strict=True)
        )
        factors = list(layer.norm.factors)
        lowering.builder.normalize(
            before,
            update,
            [1 / (len(before) * block.components**2) for block in before],
            [columns.spread(factors[0]), *factors[1:]],
            EPSILON,
        )
    return _gate(lowering.builder, layer, update)


def _convolve(
    lowering: Lowering,
    layer: GatedLayer,
    x: Features,
    update: list[Block],
    columns: ScalarColumns,
) -> None:
    """Messages of all towers, mixed."""
    convolution = layer.convolution
    written, used, start = [False] * len(update), [0] * len(update), 0
    products = cast(list[TensorProduct], list(convolution.tensor_products))
    for family, product in zip(convolution.towers, products, strict=True):
        width = family.tower.width
        stop = start + sum(end is not None for end in family.ends) * width
        arrange = _paths_of(family, start, stop)
        start = stop
        mixes = []
        for end, out in enumerate(update):
            paths = [n for n, other in enumerate(family.ends) if other == end]
            if not paths:
                continue
            rows = slice(used[end], used[end] + len(paths) * width)
            used[end] = rows.stop
            matrix = convolution.weights[end][rows] * layer.scale
            if end == 0:
                matrix = columns.spread(matrix)
            matrices = matrix.unflatten(0, (-1, width))[None]
            mixes.append(Mix(out, paths, matrices, written[end]))
            written[end] = True
        sent = _sent(lowering, layer, x, family)
        lowering.convolution(product.spec, layer.radial, arrange, sent, mixes)
    for block, done in zip(update, written, strict=True):
        if not done:
            _set_zero(lowering, block)


def _paths_of(family: FamilyTower, start: int, stop: int) -> Callable[[Tensor], Tensor]:
    """Map of radial functions to those of all paths of a tower."""
    width = family.tower.width
    with_weights = [n for n, end in enumerate(family.ends) if end is not None]

    def arrange(values: Tensor) -> Tensor:
        given = values[:, start:stop].unflatten(1, (-1, width))
        zero = torch.zeros_like(given[:, 0])
        of_paths = [zero] * len(family.ends)
        for n, path in enumerate(with_weights):
            of_paths[path] = given[:, n]
        return torch.stack(of_paths, dim=1)

    return arrange


def _sent(
    lowering: Lowering, layer: GatedLayer, x: Features, family: FamilyTower
) -> Block | Float64[Tensor, "elements channels"]:
    """Features of a tower that neighbors receive."""
    tower = family.tower
    channels = slice(tower.start, tower.stop)
    factors = torch.ones(len(lowering.present), dtype=torch.float64)
    if layer.sender_factors is not None:
        factors = lowering.of_present(layer.sender_factors)
    bias = None
    if layer.bias_in is not None and not family.unnatural:
        bias = factors[:, None] * layer.bias_in[channels]
    if isinstance(x, Tensor):
        sent = factors[:, None] * (x @ layer.linear.weights[0][:, channels])
        return sent if bias is None else sent + bias
    out = lowering.builder.blocks([tower.width], tower.lmax)
    for degree, to in enumerate(out):
        if degree == 0 and not family.has_scalars:
            _set_zero(lowering, to)
            continue
        place = position(degree, layer.convolution.natural, unnatural=family.unnatural)
        matrix = layer.linear.weights[place][:, channels]
        matrices = matrix[None, None]
        if layer.sender_factors is not None:
            matrices = factors[:, None, None, None] * matrices
        lowering.builder.linear(x[place], to, matrices)
    if bias is not None:
        lowering.builder.embed(out[0], bias, add=True)
    return out[0]


def _add_own(
    lowering: Lowering,
    layer: GatedLayer,
    x: Features,
    update: list[Block],
    columns: ScalarColumns,
) -> None:
    """Add the features of the atom itself."""
    own = layer.self_connection
    if own is None:
        return
    for place, (weight, to) in enumerate(zip(own.weights, update, strict=False)):
        if isinstance(own, ElementLinearPerDegree):
            matrices = lowering.of_present(weight)[:, None]
        else:
            matrices = weight[None, None]
        if place == 0:
            matrices = columns.spread(matrices)
        if isinstance(x, Tensor):
            rows = torch.einsum("zi,zio->zo", x, matrices[:, 0].expand(len(x), -1, -1))
            lowering.builder.embed(to, rows, add=True)
            return
        if place < len(x):
            lowering.builder.linear(x[place], to, matrices, add=True)


def _gate(builder: Builder, layer: GatedLayer, update: list[Block]) -> list[Block]:
    """Gate whose factors are functions of further scalars."""
    gate = layer.gate
    degrees = list(layer.convolution.degrees)
    counts = [*gate.gated]
    if gate.odd_gain is not None:
        counts.append(update[-1].channels)
    out = builder.blocks_of(zip(degrees, counts, strict=True))
    start = update[0].offset
    for place, count in enumerate(gate.gated):
        width = builder.padded(count)
        scalars = Block(update[0].buffer, start, width, 1, count)
        start += width
        if place == 0:
            builder.activate(scalars, out[0], "silu", gate.gain)
        else:
            builder.gate(update[place], scalars, out[place], "silu", gate.gain)
    if gate.odd_gain is not None:
        builder.activate(update[-1], out[-1], "tanh", gate.odd_gain)
    return out


def _scalar_columns(builder: Builder, counts: Sequence[int]) -> ScalarColumns:
    """Places of scalars and of the factors of each further degree."""
    places, start = [], 0
    for count in counts:
        places.append(torch.arange(start, start + count))
        start += builder.padded(count)
    return ScalarColumns(start, torch.cat(places))


def _set_zero(lowering: Lowering, block: Block) -> None:
    """Set all components of a block to zero."""
    zeros = torch.zeros(len(lowering.present), block.channels, dtype=torch.float64)
    for m in range(block.components):
        row = block._replace(offset=block.offset + m * block.stride, components=1)
        lowering.builder.embed(row, zeros, add=False)
