"""Last step of every source: a potential from what was read of a file."""

from collections.abc import Mapping

from torch import Tensor

from equipot.checkpoint.header import check_weights
from equipot.checkpoint.origin import ModelOrigin
from equipot.config.model import AnyModelConfig
from equipot.conversion.converted import Converted, statistics_without_training
from equipot.conversion.errors import ConversionError
from equipot.conversion.free_atoms import with_free_atoms


def assembled(
    config: AnyModelConfig,
    weights: Mapping[str, Tensor],
    origin: ModelOrigin,
    energies: Mapping[int, float],
    *,
    scale: float,
    neighbors: float,
) -> Converted:
    """A potential whose original adds a scaled network to energies of the elements.

    Args:
        config: Architecture.
        weights: In float64, by the names of equipot.
        origin: Where it comes from.
        energies: That the original adds for each atom, in eV by atomic number, without
            the output of the network for a free atom. A constant shift of the original
            is part of them: that of equipot vanishes with the neighbors.
        scale: Factor of the network's energy of an atom, in eV.
        neighbors: Constant that messages are normalized by.

    Raises:
        ConversionError: If the weights are not those of the architecture.
    """
    statistics = statistics_without_training(
        energies,
        scale=scale,
        shift=0.0,
        average_num_neighbors=neighbors,
        cutoff=config.cutoff,
    )
    try:
        check_weights(config, statistics, weights)
    except ValueError as error:
        raise ConversionError(str(error)) from error
    return with_free_atoms(Converted(config, statistics, weights, origin))


def refuse_head(head: str | None, package: str) -> None:
    """Reject the choice of a head of a model that has one.

    Raises:
        ConversionError: If a head was chosen.
    """
    if head is not None:
        raise ConversionError(f"models of {package} have no heads, got --head {head}")
