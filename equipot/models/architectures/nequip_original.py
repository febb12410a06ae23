"""NequIP as its own package computes it, with features of natural or both parities."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple, final

from equipot.config.model import OriginalNequIPConfig
from equipot.models.gated_network import GatedNetwork
from equipot.models.message_passing import envelope_of
from equipot.models.products import Products
from equipot.nn import (
    BesselBasis,
    EmbeddedElement,
    GatedLayer,
    Parities,
    RadialInputs,
    parity_specs,
)

SILU_GAIN: Final = 1.6791767923989418
"""Factor of SiLU in gates. It is to restore the second moment of a normal variable;
e3nn estimates it from a million random numbers, always the same."""
TANH_GAIN: Final = 1.5937334472592695
"""The same for the hyperbolic tangent of scalars that change sign under inversion."""
RADIAL_GAIN: Final = math.sqrt(2)
"""Of the matrices of radial MLPs after a nonlinearity, before training."""


class Features(NamedTuple):
    """Numbers of channels after a layer."""

    natural: tuple[int, ...]
    """Of degrees 0, 1, ... of parity (-1)^l."""
    others: tuple[int, ...] = ()
    """Of degrees 1, 2, ... of the other parity; none if there are no such features."""
    odd_scalars: int = 0
    """Of scalars that change sign under inversion."""

    @property
    def channels(self) -> tuple[int, ...]:
        """In the order of `equipot.nn.Parities`."""
        odd = (self.odd_scalars,) if self.odd_scalars else ()
        return (*self.natural, *self.others, *odd)


def features_after_layers(
    hidden: Sequence[int], num_layers: int, *, both: bool
) -> list[Features]:
    """Features after each layer: those that can be made, and that reach the energy.

    Features of the other parity than (-1)^l are first made by the second layer, and odd
    scalars by the third. The last layer uses neither; the last but one can use the
    former, and layers before it the latter.

    Args:
        hidden: Channels of each degree.
        num_layers: Message-passing layers.
        both: Whether there are features of both parities.
    """
    out = []
    for n in range(1, num_layers):
        others = tuple(hidden[1:]) if both and 2 <= n <= num_layers - 2 else ()
        odd = hidden[0] if others and 3 <= n <= num_layers - 3 else 0
        out.append(Features(tuple(hidden), others, odd))
    return [*out, Features(tuple(hidden[:1]))]


@final
class OriginalNequIP(GatedNetwork):
    """Convolutions with self-connections of the elements, and gates.

    The first layer has no self-connection, so that energies of free atoms are those of
    the elements; the last layer makes scalars only.

    Args:
        config: Hyperparameters.
        atomic_numbers: Chemical elements, ascending.
        average_num_neighbors: Mean number of edges that arrive at an atom.
        products: Makers of the tensor products.

    Source:
        S. Batzner et al., Nat. Commun. 13, 2453 (2022); C. W. Tan et al.,
        arXiv:2504.16068, and the package nequip, version 0.19.
    """

    def __init__(
        self,
        config: OriginalNequIPConfig,
        atomic_numbers: Sequence[int],
        average_num_neighbors: float,
        products: Products,
    ) -> None:
        num_elements = len(atomic_numbers)
        lmax_filter = config.lmax if config.lmax_filter is None else config.lmax_filter
        after = features_after_layers(
            config.channels_per_degree, config.num_layers, both=config.both_parities
        )
        embedding = config.embedding_channels or config.num_scalars
        layers: list[GatedLayer] = []
        for before, result in pairwise([Features((embedding,)), *after]):
            # the last layer uses features of natural parity only
            used = before if len(layers) < len(after) - 1 else Features(before.natural)
            parities = Parities(len(before.natural), len(result.natural))
            layer = GatedLayer(
                [
                    products.of_edges(spec)
                    for spec in parity_specs(
                        used.channels, result.channels, lmax_filter, parities
                    )
                ],
                used.channels,
                result.channels,
                num_basis=config.num_basis,
                radial_hidden=config.radial_hidden,
                radial_gains=[1.0] + [RADIAL_GAIN] * len(config.radial_hidden),
                scale=average_num_neighbors**-0.5,
                gain=SILU_GAIN,
                self_connection="element" if layers else "none",
                num_elements=num_elements,
                parities=parities,
                odd_gain=TANH_GAIN if result.odd_scalars else None,
                sender_factors=config.sender_factors,
            )
            layers.append(layer)
        basis = BesselBasis(
            config.cutoff, config.num_basis, trainable=config.trained_basis
        )
        super().__init__(
            layers,
            EmbeddedElement(num_elements, embedding),
            RadialInputs(basis, envelope_of(config)),
            cutoff=config.cutoff,
            channels=[features.natural for features in after],
            scaled_elements=num_elements if config.element_scale else None,
        )
