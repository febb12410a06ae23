"""Typical workload of the tensor products of a model, for the backend `auto`."""

import torch

from equipot.config.model import ModelConfig
from equipot.data.statistics import Statistics
from equipot.models.build import product_specs
from equipot.tensor_products.trial import Problem


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
        statistics: Statistics of the training set.
        device: Device of the computation.
        structures: Number of structures per batch.
        max_edges: Largest number of edges per batch, which limits `structures`.
    """
    share = structures / max(statistics.num_structures, 1)
    if max_edges is not None:
        share = min(share, max_edges / max(statistics.num_edges, 1))
    return Problem(
        product_specs(config),
        config.channels,
        num_nodes=round(share * statistics.num_atoms),
        num_edges=round(share * statistics.num_edges),
        dtype=getattr(torch, config.dtype),
        device=device,
    )
