"""Nequix: NequIP with fewer channels of higher degrees, and a norm in every layer."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, final

from equipot.config.model import NequixConfig
from equipot.models.gated_network import GatedNetwork
from equipot.models.message_passing import bessel_inputs
from equipot.models.products import Products
from equipot.nn import GatedLayer, OneHotElement, tower_specs

GAIN: Final = 1.6765620560798837
"""Factor of SiLU in gates. It restores the second moment of a normal variable, by the
mean over a million quantiles in the original; the integral is 1.6765324703310907."""
RADIAL_GAIN: Final = 2.0
"""Of the hidden matrices of radial MLPs, before training."""


@final
class Nequix(GatedNetwork):
    """Convolutions with skip connections, norms and gates.

    The first layer sees the elements, one scalar channel for each; the last layer makes
    scalars only.

    Args:
        config: Hyperparameters.
        atomic_numbers: Chemical elements, ascending.
        average_num_neighbors: Mean number of edges that arrive at an atom.
        products: Makers of the tensor products.

    Source:
        T. Koker, M. Kotak and T. Smidt, arXiv:2508.16067.
    """

    def __init__(
        self,
        config: NequixConfig,
        atomic_numbers: Sequence[int],
        average_num_neighbors: float,
        products: Products,
    ) -> None:
        num_elements = len(atomic_numbers)
        hidden = config.channels_per_degree
        lmax_filter = config.lmax if config.lmax_filter is None else config.lmax_filter
        channels = [
            (num_elements,),
            *[hidden] * (config.num_layers - 1),
            hidden[:1],
        ]
        layers = [
            GatedLayer(
                [
                    products.of_edges(spec)
                    for spec in tower_specs(before, lmax_filter, len(after) - 1, "O(3)")
                ],
                before,
                after,
                num_basis=config.num_basis,
                radial_hidden=config.radial_hidden,
                radial_gains=[RADIAL_GAIN] * len(config.radial_hidden) + [1.0],
                scale=average_num_neighbors**-0.5,
                gain=GAIN,
                self_connection=config.skip,
                num_elements=num_elements,
                norm=config.layer_norm,
            )
            for before, after in pairwise(channels)
        ]
        super().__init__(
            layers,
            OneHotElement(num_elements),
            bessel_inputs(config),
            cutoff=config.cutoff,
            channels=channels[1:],
        )
