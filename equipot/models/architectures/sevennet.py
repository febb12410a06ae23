"""SevenNet: NequIP with even features, so that it commutes with rotations only."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, final

from torch import Tensor, nn

from equipot.config.model import SevenNetConfig
from equipot.models.gated_network import GatedNetwork
from equipot.models.products import Products
from equipot.nn import (
    BesselBasis,
    EmbeddedElement,
    GatedLayer,
    RadialInputs,
    WithLengths,
    polynomial_envelope,
    tower_specs,
    xplor_envelope,
)

GAIN: Final = 1.6791767923989418
"""Factor of SiLU in gates, and between the layers of radial MLPs. It is to restore the
second moment of a normal variable; e3nn estimates it from a million random numbers,
always the same, and is 0.2 percent off. Weights are trained with this factor, so that
the exact one would give another potential."""


@final
class SevenNet(GatedNetwork):
    """Convolutions with self-connections and gates.

    The last layer makes scalars only. Wave numbers of the radial functions are trained.

    Args:
        config: Hyperparameters.
        atomic_numbers: Chemical elements, ascending.
        average_num_neighbors: Mean number of edges that arrive at an atom.
        products: Makers of the tensor products.

    Source:
        Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024).
    """

    def __init__(
        self,
        config: SevenNetConfig,
        atomic_numbers: Sequence[int],
        average_num_neighbors: float,
        products: Products,
    ) -> None:
        hidden = config.channels_per_degree
        lmax_filter = config.lmax if config.lmax_filter is None else config.lmax_filter
        channels = [hidden[:1], *[hidden] * (config.num_layers - 1), hidden[:1]]
        layers = [
            GatedLayer(
                [
                    products.of_edges(spec)
                    for spec in tower_specs(
                        before, lmax_filter, len(after) - 1, config.symmetry
                    )
                ],
                before,
                after,
                num_basis=config.num_basis,
                radial_hidden=config.radial_hidden,
                radial_gains=[1.0] + [GAIN] * len(config.radial_hidden),
                scale=1 / average_num_neighbors,
                gain=GAIN,
                self_connection=kept,
                num_elements=len(atomic_numbers),
                bias=config.bias,
                solid=config.harmonics == "solid",
            )
            for (before, after), kept in zip(
                pairwise(channels), config.self_connections, strict=True
            )
        ]
        super().__init__(
            layers,
            EmbeddedElement(len(atomic_numbers), hidden[0]),
            _radial_inputs(config),
            cutoff=config.cutoff,
            channels=channels[1:],
            symmetry=config.symmetry,
            scaled_elements=len(atomic_numbers) if config.element_scale else None,
        )
        if config.envelope_onset is not None:
            self.hessian_jumps = (config.envelope_onset, config.cutoff)


def _radial_inputs(config: SevenNetConfig) -> RadialInputs:
    """Bessel functions of trained wave numbers, and the envelope."""
    cutoff, onset = config.cutoff, config.envelope_onset

    def envelope(lengths: Tensor) -> Tensor:
        if onset is not None:
            return xplor_envelope(lengths, onset, cutoff)
        return polynomial_envelope(lengths / cutoff, config.envelope_power)

    basis: nn.Module = BesselBasis(cutoff, config.num_basis, trainable=True)
    if config.harmonics == "solid":
        basis = WithLengths(basis)
    return RadialInputs(basis, envelope)
