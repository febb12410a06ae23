"""Translation of backbones and their layers by their type."""

from typing import cast

from torch import Tensor, nn

from equipot.frozen.builder import Block
from equipot.frozen.gated import lower_gated_layer
from equipot.frozen.interaction import lower_interaction
from equipot.frozen.lowering import Lowering
from equipot.frozen.mace_layer import lower_mace_layer
from equipot.frozen.tensornet import LMAX, lower_tensornet
from equipot.models.architectures.mace import MACELayer
from equipot.models.architectures.tensornet import TensorNet
from equipot.models.backbone import Backbone
from equipot.models.message_passing import MessagePassing
from equipot.models.products import tensor_products_of
from equipot.nn import GatedLayer, InteractionBlock


def unsupported_backbone(backbone: Backbone) -> str | None:
    """Reason why there is no translation of a backbone; None if there is one."""
    if isinstance(backbone, TensorNet):
        return None
    if not isinstance(backbone, MessagePassing):
        return f"backbones of type {type(backbone).__name__} are not supported"
    return next(filter(None, map(_unsupported_layer, backbone.layers)), None)


def highest_filter_degree(backbone: MessagePassing | TensorNet) -> int:
    """Highest degree of the harmonics that messages depend on."""
    if isinstance(backbone, TensorNet):
        return LMAX
    products = tensor_products_of(backbone.layers)
    return max(product.spec.lmax_filter for product in products)


def lower_backbone(
    lowering: Lowering, backbone: MessagePassing | TensorNet
) -> list[list[Block]]:
    """Features after each layer that energies are read from; scalars are the first.

    Args:
        lowering: State of the translation.
        backbone: Backbone for which `unsupported_backbone` returns None.
    """
    if isinstance(backbone, TensorNet):
        return lower_tensornet(lowering, backbone)
    layers: list[list[Block]] = []
    x: list[Block] | Tensor = lowering.embedding(backbone.embedding)
    for layer in backbone.layers:
        layers.append(_lower_layer(lowering, layer, x))
        x = layers[-1]
    return layers


def _lower_layer(
    lowering: Lowering, layer: nn.Module, x: list[Block] | Tensor
) -> list[Block]:
    """Features after a layer.

    Args:
        lowering: State of the translation.
        layer: Layer of a `MessagePassing` backbone.
        x: Features before; of the first layer, scalars of each element that is
            present, shape ``(elements, channels)``.
    """
    if isinstance(layer, MACELayer):
        return lower_mace_layer(lowering, layer, x)
    if isinstance(layer, InteractionBlock):
        return lower_interaction(lowering, layer, x)
    return lower_gated_layer(lowering, cast(GatedLayer, layer), x)


def _unsupported_layer(layer: nn.Module) -> str | None:
    """Reason why there is no translation of a layer; None if there is one."""
    if isinstance(layer, MACELayer):
        if layer.node_product.spec.weighting != "per_path":
            return "node products with weights per degree are not supported"
        return None
    if isinstance(layer, InteractionBlock | GatedLayer):
        return None
    return f"layers of type {type(layer).__name__} are not supported"
