"""Translation of layers by their type."""

from typing import cast

from torch import Tensor, nn

from equipot.frozen.builder import Block
from equipot.frozen.gated import lower_gated_layer
from equipot.frozen.interaction import lower_interaction
from equipot.frozen.lowering import Lowering, UnsupportedModelError
from equipot.frozen.mace_layer import lower_mace_layer
from equipot.models.architectures.mace import MACELayer
from equipot.nn import GatedLayer, InteractionBlock


def lower_layer(
    lowering: Lowering, layer: nn.Module, x: list[Block] | Tensor
) -> list[Block]:
    """Features after a layer.

    Args:
        lowering: State of the translation.
        layer: Layer of a `equipot.models.message_passing.MessagePassing` backbone.
        x: Features before; of the first layer, scalars of each element that is
            present, shape ``(elements, channels)``.

    Raises:
        UnsupportedModelError: If there is no translation.
    """
    if (reason := unsupported_layer(layer)) is not None:
        raise UnsupportedModelError(reason)
    if isinstance(layer, MACELayer):
        return lower_mace_layer(lowering, layer, x)
    if isinstance(layer, InteractionBlock):
        return lower_interaction(lowering, layer, x)
    return lower_gated_layer(lowering, cast(GatedLayer, layer), x)


def unsupported_layer(layer: nn.Module) -> str | None:
    """Reason why there is no translation of a layer; None if there is one."""
    if isinstance(layer, MACELayer):
        if layer.node_product.spec.weighting != "per_path":
            return "node products with weights per degree are not supported"
        return None
    if isinstance(layer, InteractionBlock | GatedLayer):
        return None
    return f"layers of type {type(layer).__name__} are not supported"
