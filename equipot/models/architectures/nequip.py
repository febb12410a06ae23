"""NequIP: convolutions with gates and self-connections of the elements."""

from collections.abc import Sequence
from dataclasses import replace
from typing import final

from equipot.config.model import NequIPConfig
from equipot.models.message_passing import MessagePassing, bessel_inputs
from equipot.models.products import Products
from equipot.nn import ElementEmbedding, InteractionBlock
from equipot.tensor_products import TensorProductSpec


@final
class NequIP(MessagePassing):
    """Interaction blocks on features of degrees 0 to ``lmax``.

    The first block sees scalars only, the last one makes scalars only.

    Args:
        config: Hyperparameters.
        atomic_numbers: Chemical elements, ascending.
        average_num_neighbors: Mean number of edges that arrive at an atom.
        products: Makers of the tensor products.

    Source:
        S. Batzner et al., Nat. Commun. 13, 2453 (2022).
    """

    def __init__(
        self,
        config: NequIPConfig,
        atomic_numbers: Sequence[int],
        average_num_neighbors: float,
        products: Products,
    ) -> None:
        specs = layer_specs(config)
        layers = [
            InteractionBlock(
                products.of_edges(spec),
                channels=config.channels,
                num_elements=len(atomic_numbers),
                num_basis=config.num_basis,
                radial_hidden=config.radial_hidden,
                average_num_neighbors=average_num_neighbors,
            )
            for spec in specs
        ]
        super().__init__(
            layers,
            ElementEmbedding(len(atomic_numbers), config.channels),
            bessel_inputs(config),
            cutoff=config.cutoff,
            channels=[config.channels] * config.num_layers,
            lmax=[spec.lmax_out for spec in specs],
            symmetry=config.symmetry,
        )


def layer_specs(config: NequIPConfig) -> tuple[TensorProductSpec, ...]:
    """Tensor product of each layer."""
    inner = TensorProductSpec(
        lmax_in=config.lmax,
        lmax_filter=config.lmax if config.lmax_filter is None else config.lmax_filter,
        lmax_out=config.lmax,
        weighting=config.weighting,
        symmetry=config.symmetry,
        accumulate=config.accumulate,
    )
    last = config.num_layers - 1
    return tuple(
        replace(
            inner,
            lmax_in=0 if n == 0 else inner.lmax_in,
            lmax_out=0 if n == last else inner.lmax_out,
        )
        for n in range(config.num_layers)
    )
