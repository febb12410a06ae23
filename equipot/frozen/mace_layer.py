"""Translation of the layers of MACE."""

import torch
from torch import Tensor

from equipot.frozen.builder import Block
from equipot.frozen.lowering import Lowering, Mix
from equipot.models.architectures.mace import MACELayer
from equipot.node_products.monomial_terms import monomial_terms
from equipot.tensor_products.weights import path_weights


def lower_mace_layer(
    lowering: Lowering, layer: MACELayer, x: list[Block] | Tensor
) -> list[Block]:
    """Features after a layer of MACE."""
    spec = layer.tensor_product.spec
    polynomial = layer.node_product.spec
    channels = layer.linear_out.weight.shape[1]
    sent_channels = layer.channels_sent
    basis = lowering.builder.blocks([channels], spec.lmax_out)
    scale = layer.message_scale if layer.density is None else 1.0
    mixes = []
    for degree, weight in enumerate(layer.path_linear.weights):
        matrices = weight.unflatten(0, (-1, sent_channels)) * scale
        if layer.residual:
            matrices = matrices[None]
        else:
            of_elements = lowering.of_present(layer.element_linear.weight)[:, degree]
            matrices = torch.einsum("pio,zoq->zpiq", matrices, of_elements)
        paths = [n for n, path in enumerate(spec.paths) if path.l_out == degree]
        mixes.append(Mix(basis[degree], paths, matrices))

    def arrange(values: Tensor) -> Tensor:
        return path_weights(spec, values.unflatten(1, (-1, sent_channels)))

    sent = lowering.mixed(x, layer.linear_in.weight[: spec.lmax_in + 1])
    lowering.convolution(spec, layer.radial, arrange, sent, mixes)
    if layer.density is not None:
        table = lowering.radial.full(layer.density, lambda values: values)
        density = lowering.builder.radial_sum(table)
        undivided, basis = basis, lowering.builder.blocks([channels], spec.lmax_out)
        lowering.builder.divide(undivided, density, basis)
    terms = monomial_terms(polynomial)
    weights: Tensor = layer.polynomial_weights
    if len(weights) > 1:
        weights = lowering.of_present(weights)
    products = lowering.builder.contract(
        basis[0].buffer,
        terms.table,
        terms.of_weights @ weights,
        polynomial.num_outputs,
    )
    out_blocks = lowering.builder.blocks([channels], polynomial.lmax_out)
    width = lowering.builder.padded(channels)
    for degree, out in enumerate(out_blocks):
        block = Block(products, degree**2 * width, width, 2 * degree + 1, channels)
        lowering.builder.linear(block, out, layer.linear_out.weight[degree][None, None])
    if layer.residual:
        skips = lowering.of_present(layer.element_linear.weight)
        if isinstance(x, Tensor):
            rows = torch.einsum("zi,zio->zo", x, skips[:, 0])
            lowering.builder.embed(out_blocks[0], rows, add=True)
        else:
            for degree in range(skips.shape[1]):
                lowering.builder.linear(
                    x[degree],
                    out_blocks[degree],
                    skips[:, degree][:, None],
                    add=True,
                )
    return out_blocks
