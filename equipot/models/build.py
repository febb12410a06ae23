"""Factory of potentials from configurations."""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from equipot.config.model import ModelConfig
from equipot.data.statistics import Statistics
from equipot.heads import (
    DirectHessianHead,
    EnergyHead,
    MACERepulsion,
    NequIPRepulsion,
    ZBLRepulsion,
)
from equipot.models.architectures import ARCHITECTURES
from equipot.models.backbone import Backbone
from equipot.models.potential import Potential
from equipot.models.products import (
    AUTO,
    UNBUILT,
    Products,
    node_specs_of,
    products_of_backends,
    replace_node_products,
    replace_tensor_products,
    specs_of,
)
from equipot.node_products import NODE_REFERENCE, get_node_product
from equipot.tensor_products import (
    BACKENDS,
    REFERENCE,
    TensorProductSpec,
    get_backend,
)


def build_potential(
    config: ModelConfig, statistics: Statistics, *, seed: int | None = 0
) -> Potential:
    """Build a potential with random weights.

    No timing is done here: the backend "auto" means the reference until `with_backend`
    or `load_potential` selects another one.

    Args:
        config: Configuration section of an architecture.
        statistics: Elements, reference energies, scale and shift of the training data.
        seed: Random seed of the weights; None uses the current state of torch's
            generator.

    Returns:
        The potential on the CPU, in the precision of the configuration.

    Raises:
        UnsupportedSpecError: If the backend does not support the product of a layer.
        ValueError: If the backend is unknown, or a reference energy is missing.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        potential = _build(config, statistics, _products(config))
    return potential.to(getattr(torch, config.dtype))


def with_backend(
    potential: Potential,
    backend: str,
    dtype: torch.dtype | None = None,
    *,
    node_backend: str | None = None,
) -> Potential:
    """Copy of a potential with another backend.

    Args:
        potential: Potential, not changed; weights are copied.
        backend: Backend of the tensor products of the copy.
        dtype: Precision of the copy; by default that of the potential.
        node_backend: Backend of the node products of the copy; by default that of the
            potential.

    Raises:
        UnsupportedSpecError: If a backend does not support the product of a layer.
        BackendUnavailableError: If a backend cannot run on this machine.
        ValueError: If a backend is unknown or "auto".
    """
    chosen = get_backend(_not_auto(backend))
    twin = copy.deepcopy(potential)
    replace_tensor_products(twin, {spec: chosen(spec) for spec in set(specs_of(twin))})
    if node_backend is not None:
        node_product = get_node_product(node_backend)
        replace_node_products(
            twin, {spec: node_product(spec) for spec in set(node_specs_of(twin))}
        )
    return twin if dtype is None else twin.to(dtype)


def as_reference(potential: Potential, dtype: torch.dtype) -> Potential:
    """Copy of a potential with the reference backends of all products."""
    return with_backend(potential, REFERENCE, dtype, node_backend=NODE_REFERENCE)


def check_model(config: ModelConfig) -> None:
    """Raise if an architecture cannot be built, before any data are read.

    Raises:
        UnsupportedSpecError: If a backend does not support the product of a layer.
        BackendUnavailableError: If a backend cannot run on this machine.
        ValueError: If a backend is unknown.
    """
    backbone, products = _skeleton(config), _products(config)
    for spec in specs_of(backbone):
        products.of_edges(spec)
    for node_spec in node_specs_of(backbone):
        products.of_nodes(node_spec)


def unsupported(backend: str, specs: Collection[TensorProductSpec]) -> str | None:
    """Reason why a backend does not support all of the products; None if it does.

    Without any products, only the reference is supported, since backends do not differ.
    """
    if not specs and backend != REFERENCE:
        return "the architecture has no tensor products"
    reasons = (BACKENDS[backend].unsupported(spec) for spec in specs)
    return next((reason for reason in reasons if reason is not None), None)


def product_specs(config: ModelConfig) -> tuple[TensorProductSpec, ...]:
    """Tensor products of all layers; empty for a Cartesian architecture."""
    return specs_of(_skeleton(config))


def feature_channels(config: ModelConfig) -> int:
    """Scalars of an atom after the last layer, which predictions return as features."""
    return _skeleton(config).channels[-1]


def weight_shapes(
    config: ModelConfig, statistics: Statistics
) -> Mapping[str, torch.Size]:
    """Shapes of the weights of `build_potential`, without allocating memory.

    Args:
        config: Configuration section of an architecture.
        statistics: Statistics with the elements.
    """
    with torch.device("meta"):
        potential = _build(config, statistics, UNBUILT)
    weights: Mapping[str, Tensor] = potential.state_dict()
    return {name: weight.shape for name, weight in weights.items()}


def _build(
    config: ModelConfig, statistics: Statistics, products: Products
) -> Potential:
    backbone = _backbone(
        config, statistics.elements, statistics.average_num_neighbors, products
    )
    head = EnergyHead(
        backbone.channels,
        config.readout_hidden,
        depth=config.readout_depth,
        gated=config.readout_gated,
        every_layer=config.readouts == "all",
        activation=config.readout_activation,
    )
    return Potential(
        backbone,
        head,
        {z: statistics.reference_energies[z] for z in statistics.elements},
        scale=statistics.energy_scale,
        shift=statistics.energy_shift,
        envelope_power=config.envelope_power,
        repulsion=_repulsion(config),
        direct_hessian=_direct_hessian(config, backbone),
    )


def _backbone(
    config: ModelConfig,
    atomic_numbers: Sequence[int],
    average_num_neighbors: float,
    products: Products,
) -> Backbone:
    if not average_num_neighbors > 0:
        raise ValueError(
            "average_num_neighbors must be positive, got "
            f"{average_num_neighbors}: check that the cutoff exceeds the distances"
        )
    architecture = ARCHITECTURES[architecture_of(config)]
    return architecture(config, atomic_numbers, average_num_neighbors, products)


def architecture_of(config: ModelConfig) -> str:
    """Name of the architecture of a configuration section."""
    name: Any = getattr(config, "architecture", None)
    if name not in ARCHITECTURES:
        raise ValueError(
            f"expected the section of an architecture ({', '.join(ARCHITECTURES)}), "
            f"got {type(config).__name__}; use equipot.config.model.parse_model"
        )
    return str(name)


def _skeleton(config: ModelConfig) -> Backbone:
    """Backbone on the meta device, without weights and constants."""
    with torch.device("meta"):
        return _backbone(config, (1,), 1.0, UNBUILT)


def _products(config: ModelConfig) -> Products:
    """Product factories of a configuration; "auto" means the reference."""
    backend = REFERENCE if config.backend == AUTO else config.backend
    # The key exists for architectures with node products only.
    node_backend = getattr(config, "node_backend", NODE_REFERENCE)
    return products_of_backends(backend, node_backend)


def _repulsion(
    config: ModelConfig,
) -> ZBLRepulsion | MACERepulsion | NequIPRepulsion | None:
    if config.zbl == "mace":
        return MACERepulsion(config.cutoff, config.envelope_power)
    if config.zbl == "nequip":
        return NequIPRepulsion(config.cutoff, config.envelope_power)
    return ZBLRepulsion(config.cutoff, config.envelope_power) if config.zbl else None


def _direct_hessian(
    config: ModelConfig, backbone: Backbone
) -> DirectHessianHead | None:
    """Head for direct Hessians; initialized last, without effect on other weights."""
    if (head := config.direct_hessian) is None:
        return None
    return DirectHessianHead(
        backbone.lmax,
        backbone.channels,
        channels=head.channels,
        cutoff=head.cutoff,
        num_basis=head.num_basis,
        hidden=head.hidden,
        envelope_power=config.envelope_power,
        sum_rule=head.sum_rule,
        detach=head.detach,
    )


def _not_auto(name: str) -> str:
    if name == AUTO:
        raise ValueError(
            "backend 'auto' must be resolved first: call "
            "equipot.tensor_products.autotune.choose_backend"
        )
    return name
