"""What a model asks of its tensor products: the problem that `auto` measures."""

from collections.abc import Sequence

import torch

from equipot.config.model import ModelConfig
from equipot.data.statistics import Statistics
from equipot.models.build import product_specs
from equipot.nn.towers import towers_of
from equipot.tensor_products.trial import Problem


def typical_problem(
    config: ModelConfig,
    statistics: Statistics,
    device: torch.device,
    *,
    structures: int = 1,
    max_edges: int | None = None,
) -> Problem:
    """Tensor products of a model on structures as large as those it was trained on.

    Args:
        config: Architecture and arithmetic.
        statistics: Of the training set.
        device: Where to compute.
        structures: How many are computed together.
        max_edges: Most edges of a batch; there are fewer structures in it otherwise.
    """
    share = structures / max(statistics.num_structures, 1)
    if max_edges is not None:
        share = min(share, max_edges / max(statistics.num_edges, 1))
    return Problem(
        product_specs(config),
        _width(config.channels),
        num_nodes=round(share * statistics.num_atoms),
        num_edges=round(share * statistics.num_edges),
        dtype=getattr(torch, config.dtype),
        device=device,
    )


def _width(channels: int | Sequence[int]) -> int:
    """Channels of a product: all, or those of the widest tower."""
    if isinstance(channels, int):
        return channels
    return max(tower.width for tower in towers_of(channels))
