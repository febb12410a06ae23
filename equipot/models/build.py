"""From a configuration to a potential: the only factory."""

import copy
from collections.abc import Collection
from typing import Any

import torch

from equipot.config.model import ModelConfig
from equipot.data.statistics import Statistics
from equipot.heads import DirectHessianHead, EnergyHead, ZBLRepulsion
from equipot.models.backbone import MessagePassing, layer_specs
from equipot.models.potential import Potential
from equipot.nn import ElementEmbedding, InteractionBlock
from equipot.tensor_products import (
    BACKENDS,
    REFERENCE,
    TensorProduct,
    TensorProductSpec,
    get_backend,
)

AUTO = "auto"
"""Name that stands for the fastest backend on this machine."""


def build_potential(
    config: ModelConfig, statistics: Statistics, *, seed: int | None = 0
) -> Potential:
    """Potential with random weights.

    Nothing is measured here: for the backend "auto" the reference computes, until
    `with_backend` or a way through `load_potential` chooses another one.

    Args:
        config: Architecture.
        statistics: Elements, reference energies, scale and shift of the training data.
        seed: Of the weights; None leaves torch's generator as it is.

    Returns:
        The potential on the CPU, in the arithmetic of the configuration.

    Raises:
        UnsupportedSpecError: If the backend cannot compute the product of a layer.
        ValueError: If the backend is unknown, or a reference energy is missing.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        potential = _build(config, statistics)
    return potential.to(getattr(torch, config.dtype))


def with_backend(
    potential: Potential, backend: str, dtype: torch.dtype | None = None
) -> Potential:
    """Copy of a potential whose tensor products another backend computes.

    Args:
        potential: Stays as it is; the copy has weights of its own.
        backend: Tensor-product backend of the copy.
        dtype: Arithmetic of the copy; that of the potential if left out.

    Raises:
        UnsupportedSpecError: If the backend cannot compute the product of a layer.
        BackendUnavailableError: If the backend cannot run here.
        ValueError: If the backend is unknown.
    """
    chosen = _get_backend(backend)
    twin = copy.deepcopy(potential)
    products = {spec: chosen(spec) for spec in set(twin.backbone.specs)}
    twin.backbone.set_tensor_products(products)
    return twin if dtype is None else twin.to(dtype)


def check_model(config: ModelConfig) -> None:
    """Refuse an architecture that cannot be built, before any data are read.

    Raises:
        UnsupportedSpecError: If the backend cannot compute the product of a layer.
        BackendUnavailableError: If the backend cannot run here.
        ValueError: If the backend is unknown.
    """
    specs = set(product_specs(config))
    backend = get_backend(_before_auto(config.backend))
    for spec in specs:
        backend(spec)


def unsupported(backend: str, specs: Collection[TensorProductSpec]) -> str | None:
    """Why a backend cannot compute all of the products, or None if it can."""
    reasons = (BACKENDS[backend].unsupported(spec) for spec in specs)
    return next((reason for reason in reasons if reason is not None), None)


def product_specs(config: ModelConfig) -> tuple[TensorProductSpec, ...]:
    """Tensor product of every layer."""
    template = TensorProductSpec(
        lmax_in=config.lmax,
        lmax_filter=config.lmax if config.lmax_filter is None else config.lmax_filter,
        lmax_out=config.lmax,
        weighting=config.weighting,
        symmetry=config.symmetry,
        accumulate=config.accumulate,
    )
    return layer_specs(template, config.num_layers)


def _build(config: ModelConfig, statistics: Statistics) -> Potential:
    num_elements = len(statistics.elements)
    backend = get_backend(_before_auto(config.backend))
    products = {spec: backend(spec) for spec in set(product_specs(config))}
    layers = [
        InteractionBlock(
            products[spec],
            channels=config.channels,
            num_elements=num_elements,
            num_basis=config.num_basis,
            radial_hidden=config.radial_hidden,
            average_num_neighbors=statistics.average_num_neighbors,
        )
        for spec in product_specs(config)
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
        direct_hessian=_direct_hessian(config),
    )


def _direct_hessian(config: ModelConfig) -> DirectHessianHead | None:
    """Head for direct Hessians; drawn last, so that it changes no other weight."""
    if (head := config.direct_hessian) is None:
        return None
    return DirectHessianHead(
        [spec.lmax_out for spec in product_specs(config)],
        config.channels,
        channels=head.channels,
        cutoff=head.cutoff,
        num_basis=head.num_basis,
        hidden=head.hidden,
        envelope_power=config.envelope_power,
        sum_rule=head.sum_rule,
        detach=head.detach,
    )


def _before_auto(name: str) -> str:
    """Backend until auto has chosen: the reference, which is always a candidate."""
    return REFERENCE if name == AUTO else name


def _get_backend(name: str) -> type[TensorProduct[Any]]:
    if name == AUTO:
        raise ValueError(
            "backend 'auto' is not chosen yet: ask "
            "equipot.tensor_products.autotune.choose_backend for one"
        )
    return get_backend(name)
