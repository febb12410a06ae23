"""From a configuration to a potential: the only factory."""

import torch

from equipot.config.model import ModelConfig
from equipot.data.statistics import Statistics
from equipot.heads import EnergyHead, ZBLRepulsion
from equipot.models.backbone import MessagePassing, layer_specs
from equipot.models.potential import Potential
from equipot.nn import ElementEmbedding, InteractionBlock
from equipot.tensor_products import TensorProductSpec, get_backend


def build_potential(
    config: ModelConfig, statistics: Statistics, *, seed: int | None = 0
) -> Potential:
    """Potential with random weights.

    Args:
        config: Architecture.
        statistics: Elements, reference energies, scale and shift of the training data.
        seed: Of the weights; None leaves torch's generator as it is.

    Returns:
        The potential on the CPU, in the arithmetic of the configuration.

    Raises:
        UnsupportedSpecError: If the backend cannot compute the product of a layer.
        ValueError: If the backend is unknown or a reference energy is missing.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        potential = _build(config, statistics)
    return potential.to(getattr(torch, config.dtype))


def check_model(config: ModelConfig) -> None:
    """Refuse an architecture that cannot be built, before any data are read.

    Raises:
        UnsupportedSpecError: If the backend cannot compute the product of a layer.
        ValueError: If the backend is unknown.
    """
    backend = get_backend(config.backend)
    for spec in set(_specs(config)):
        backend(spec)


def _build(config: ModelConfig, statistics: Statistics) -> Potential:
    num_elements = len(statistics.elements)
    backend = get_backend(config.backend)
    products = {spec: backend(spec) for spec in set(_specs(config))}
    layers = [
        InteractionBlock(
            products[spec],
            channels=config.channels,
            num_elements=num_elements,
            num_basis=config.num_basis,
            radial_hidden=config.radial_hidden,
            average_num_neighbors=statistics.average_num_neighbors,
        )
        for spec in _specs(config)
    ]
    backbone = MessagePassing(
        layers,
        ElementEmbedding(num_elements, config.channels),
        cutoff=config.cutoff,
        num_basis=config.num_basis,
        envelope_power=config.envelope_power,
    )
    head = EnergyHead(config.num_layers, config.channels, config.readout_hidden)
    repulsion = ZBLRepulsion(config.cutoff, config.envelope_power)
    return Potential(
        backbone,
        head,
        {z: statistics.reference_energies[z] for z in statistics.elements},
        scale=statistics.energy_scale,
        shift=statistics.energy_shift,
        repulsion=repulsion if config.zbl else None,
    )


def _specs(config: ModelConfig) -> tuple[TensorProductSpec, ...]:
    template = TensorProductSpec(
        lmax_in=config.lmax,
        lmax_filter=config.lmax if config.lmax_filter is None else config.lmax_filter,
        lmax_out=config.lmax,
        weighting=config.weighting,
        symmetry=config.symmetry,
        accumulate=config.accumulate,
    )
    return layer_specs(template, config.num_layers)
