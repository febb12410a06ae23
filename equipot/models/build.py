"""From a configuration to a potential: the only factory."""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from equipot.config.model import ModelConfig
from equipot.data.statistics import Statistics
from equipot.heads import DirectHessianHead, EnergyHead, MACERepulsion, ZBLRepulsion
from equipot.models.architectures import ARCHITECTURES
from equipot.models.backbone import Backbone
from equipot.models.potential import Potential
from equipot.models.products import (
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

AUTO = "auto"
"""Name that stands for the fastest backend on this machine."""


def build_potential(
    config: ModelConfig, statistics: Statistics, *, seed: int | None = 0
) -> Potential:
    """Potential with random weights.

    Nothing is measured here: the backend "auto" is the reference until `with_backend`
    or `load_potential` chooses another one.

    Args:
        config: Section of an architecture.
        statistics: Elements, reference energies, scale and shift of the training data.
        seed: Of the weights; None leaves torch's generator as it is.

    Returns:
        The potential on the CPU, in the precision of the configuration.

    Raises:
        UnsupportedSpecError: If the backend cannot compute the product of a layer.
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
    """Copy of a potential with another backend of its products.

    Args:
        potential: Stays as it is; the copy has weights of its own.
        backend: Of the tensor products of the copy.
        dtype: Precision of the copy; that of the potential if left out.
        node_backend: Of the node products of the copy; that of the potential if left
            out.

    Raises:
        UnsupportedSpecError: If a backend cannot compute the product of a layer.
        BackendUnavailableError: If a backend cannot run here.
        ValueError: If a backend is unknown, or "auto", which is not a single one.
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
    """Refuse an architecture that cannot be built, before any data are read.

    Raises:
        UnsupportedSpecError: If a backend cannot compute the product of a layer.
        BackendUnavailableError: If a backend cannot run here.
        ValueError: If a backend is unknown.
    """
    backbone, products = _skeleton(config), _products(config)
    for spec in specs_of(backbone):
        products.of_edges(spec)
    for node_spec in node_specs_of(backbone):
        products.of_nodes(node_spec)


def unsupported(backend: str, specs: Collection[TensorProductSpec]) -> str | None:
    """Why a backend cannot compute all of the products, or None if it can.

    Without any product there is nothing that backends differ in: only the reference is
    supported.
    """
    if not specs and backend != REFERENCE:
        return "the architecture has no tensor products"
    reasons = (BACKENDS[backend].unsupported(spec) for spec in specs)
    return next((reason for reason in reasons if reason is not None), None)


def product_specs(config: ModelConfig) -> tuple[TensorProductSpec, ...]:
    """Tensor product of every layer; none for a Cartesian architecture."""
    return specs_of(_skeleton(config))


def weight_shapes(
    config: ModelConfig, statistics: Statistics
) -> Mapping[str, torch.Size]:
    """Shapes of the weights that `build_potential` would make, without memory for them.

    Args:
        config: Section of an architecture.
        statistics: With the elements.
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
            f"{average_num_neighbors}: are all atoms farther apart than the cutoff?"
        )
    architecture = ARCHITECTURES[architecture_of(config)]
    return architecture(config, atomic_numbers, average_num_neighbors, products)


def architecture_of(config: ModelConfig) -> str:
    """Name of the architecture of a section."""
    name: Any = getattr(config, "architecture", None)
    if name not in ARCHITECTURES:
        raise ValueError(
            f"expected the section of an architecture ({', '.join(ARCHITECTURES)}), "
            f"got {type(config).__name__}; use equipot.config.model.parse_model"
        )
    return str(name)


def _skeleton(config: ModelConfig) -> Backbone:
    """The backbone without weights and constants."""
    with torch.device("meta"):
        return _backbone(config, (1,), 1.0, UNBUILT)


def _products(config: ModelConfig) -> Products:
    """Makers of the products of a configuration; "auto" means the reference."""
    backend = REFERENCE if config.backend == AUTO else config.backend
    # a key of those architectures that have node products
    node_backend = getattr(config, "node_backend", NODE_REFERENCE)
    return products_of_backends(backend, node_backend)


def _repulsion(config: ModelConfig) -> ZBLRepulsion | MACERepulsion | None:
    if config.zbl == "mace":
        return MACERepulsion(config.cutoff, config.envelope_power)
    return ZBLRepulsion(config.cutoff, config.envelope_power) if config.zbl else None


def _direct_hessian(
    config: ModelConfig, backbone: Backbone
) -> DirectHessianHead | None:
    """Head for direct Hessians; drawn last, so that it changes no other weight."""
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
            "backend 'auto' is not chosen yet: ask "
            "equipot.tensor_products.autotune.choose_backend for one"
        )
    return name
