"""Translation of layers by their type."""

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
    if isinstance(layer, MACELayer):
        return lower_mace_layer(lowering, layer, x)
    if isinstance(layer, InteractionBlock):
        return lower_interaction(lowering, layer, x)
    if isinstance(layer, GatedLayer):
        return lower_gated_layer(lowering, layer, x)
    raise UnsupportedModelError(f"layers of type {type(layer).__name__}")
