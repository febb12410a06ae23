"""Typical workload of the tensor products of a model, for the backend `auto`."""

from collections.abc import Sequence

import torch

from equipot.config.model import ModelConfig
from equipot.data.statistics import Statistics
from equipot.models.build import product_specs
from equipot.nn.tower import towers_of
from equipot.tensor_products.trial import Problem

TYPICAL_ATOMS = 64
"""Atoms of a structure where the training set is not known."""


def typical_problem(
    config: ModelConfig,
    statistics: Statistics,
    device: torch.device,
    *,
    structures: int = 1,
    max_edges: int | None = None,
) -> Problem:
    """Tensor products of a model for structures of the mean size of the training set.

    Args:
        config: Configuration of the architecture and precision.
        statistics: Statistics of the training set; if that of a converted model is not
            known, the typical structure has `TYPICAL_ATOMS`.
        device: Device of the computation.
        structures: Number of structures per batch.
        max_edges: Largest number of edges per batch, which limits `structures`.
    """
    atoms, edges = _size(statistics)
    share = structures / max(statistics.num_structures, 1)
    if max_edges is not None:
        share = min(share, max_edges / max(edges, 1))
    return Problem(
        product_specs(config),
        _width(config.channels),
        num_nodes=round(share * atoms),
        num_edges=round(share * edges),
        dtype=getattr(torch, config.dtype),
        device=device,
    )


def _width(channels: int | Sequence[int]) -> int:
    """Channels of a product: all, or those of the widest tower."""
    if isinstance(channels, int):
        return channels
    return max(tower.width for tower in towers_of(channels))


def _size(statistics: Statistics) -> tuple[int, int]:
    """Atoms and edges of a training set; of one structure if the set is not known."""
    if statistics.has_training_set:
        return statistics.num_atoms, statistics.num_edges
    return TYPICAL_ATOMS, round(TYPICAL_ATOMS * statistics.average_num_neighbors)
