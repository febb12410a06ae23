"""Translation of the interaction blocks of NequIP."""

import torch
from torch import Tensor

from equipot.frozen.builder import Block
from equipot.frozen.lowering import Lowering, Mix
from equipot.nn import InteractionBlock
from equipot.nn.gate import SIGMOID_GAIN, SILU_GAIN
from equipot.tensor_products.weights import path_weights


def lower_interaction(
    lowering: Lowering, layer: InteractionBlock, x: list[Block] | Tensor
) -> list[Block]:
    """Features after an interaction block."""
    spec, channels = layer.tensor_product.spec, layer.channels
    update = lowering.builder.blocks([channels], spec.lmax_out)
    mixes = []
    for degree, weight in enumerate(layer.linear_out.weight):
        paths = [n for n, path in enumerate(spec.paths) if path.l_out == degree]
        if spec.accumulate != "concat":
            del paths[1:]
        matrices = (weight * layer.message_scale).expand(1, len(paths), -1, -1)
        mixes.append(Mix(update[degree], paths, matrices))

    def arrange(values: Tensor) -> Tensor:
        return path_weights(spec, values.unflatten(1, (-1, channels)))

    sent = lowering.mixed(x, layer.linear_in.weight)
    lowering.convolution(spec, layer.radial, arrange, sent, mixes)
    factors = lowering.of_present(layer.element_factors)
    own = torch.einsum("lio,zlo->zlio", layer.self_connection.weight, factors)
    bias = lowering.of_present(layer.element_bias)
    if isinstance(x, Tensor):
        rows = torch.einsum("zi,zio->zo", x, own[:, 0]) + bias
        lowering.builder.embed(update[0], rows, add=True)
    else:
        lowering.builder.embed(update[0], bias, add=True)
        for degree in range(own.shape[1]):
            lowering.builder.linear(
                x[degree], update[degree], own[:, degree][:, None], add=True
            )
    return _gate(lowering, layer, update)


def _gate(
    lowering: Lowering, layer: InteractionBlock, update: list[Block]
) -> list[Block]:
    """Gate whose further factors are linear maps of the scalars."""
    channels = layer.channels
    out = lowering.builder.blocks([channels], len(update) - 1)
    if len(update) > 1:
        linear = layer.gate.linear
        logits = lowering.builder.blocks_of([(0, channels)] * (len(update) - 1))
        weights = linear.weight.unflatten(0, (-1, channels))
        biases = linear.bias.unflatten(0, (-1, channels))
        for gates, weight, bias in zip(logits, weights, biases, strict=True):
            lowering.builder.linear(update[0], gates, weight.T[None, None])
            lowering.add_vector(gates, bias)
        for block, gates, to in zip(update[1:], logits, out[1:], strict=True):
            lowering.builder.gate(block, gates, to, "sigmoid", SIGMOID_GAIN)
    lowering.builder.activate(update[0], out[0], "silu", SILU_GAIN)
    return out
