"""How many weights an architecture has, counted without building it."""

from functools import cache
from itertools import pairwise

from equipot.config.model import DirectHessianConfig, ModelConfig
from equipot.models.build import product_specs
from equipot.tensor_products import TensorProductSpec


def count_weights(config: ModelConfig, num_elements: int) -> int:
    """Weights of the potential that `build_potential` would build.

    Args:
        config: Architecture.
        num_elements: Chemical elements that it knows.
    """
    channels = config.channels
    specs = product_specs(config)
    layers = sum(_layer(spec, config, num_elements) for spec in specs)
    head = (len(specs) - 1) * channels + (channels + 2) * config.readout_hidden
    direct = 0
    if config.direct_hessian is not None:
        degrees = [spec.lmax_out for spec in specs]
        direct = _direct_hessian(config.direct_hessian, channels, degrees)
    return num_elements * channels + layers + head + direct


def _layer(spec: TensorProductSpec, config: ModelConfig, num_elements: int) -> int:
    """Weights of `equipot.nn.InteractionBlock`."""
    channels = config.channels
    shared = min(spec.lmax_in, spec.lmax_out)
    matrices = (spec.lmax_in + 1) + (spec.lmax_out + 1) + (shared + 1)
    outputs = _num_weights(spec) * channels
    return (
        matrices * channels**2
        + _radial(config.num_basis, config.radial_hidden, outputs)
        + num_elements * channels * (shared + 2)
        + spec.lmax_out * (channels + 1) * channels
    )


@cache
def _num_weights(spec: TensorProductSpec) -> int:
    return spec.num_weights


def _radial(inputs: int, hidden: tuple[int, ...], outputs: int) -> int:
    """Weights of `equipot.nn.radial.RadialMLP`."""
    widths = [inputs, *hidden]
    return sum((a + 1) * b for a, b in pairwise(widths)) + widths[-1] * outputs


def _direct_hessian(
    head: DirectHessianConfig, channels_in: int, degrees: list[int]
) -> int:
    """Weights of `equipot.heads.DirectHessianHead`."""
    channels = head.channels
    mix = sum((min(degree, 2) + 1) * channels_in * 2 * channels for degree in degrees)
    pairs = _radial(head.num_basis + 6 * channels, head.hidden, 11 * channels + 2)
    if head.sum_rule == "on_site":
        return mix + pairs
    return mix + pairs + _radial(2 * channels, head.hidden, 4 * channels + 1)
