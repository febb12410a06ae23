"""Batches bounded by numbers of structures and edges, reproducible on resume."""

from collections.abc import Sequence

import numpy as np


class EdgeBudgetSampler:
    """Sampler of training batches; the order changes in every epoch.

    The order is a function of the seed and the epoch only, so a resumed epoch
    continues with the next batch and no state is saved. A structure with more edges
    than the bound is a batch of its own; no structure is dropped or repeated.
    """

    def __init__(
        self,
        num_edges: Sequence[int],
        batch_size: int,
        max_edges: int | None = None,
        *,
        seed: int = 0,
    ) -> None:
        """Store the numbers of edges and the bounds.

        Args:
            num_edges: Number of edges of each structure.
            batch_size: Maximum number of structures per batch.
            max_edges: Maximum number of edges per batch.
            seed: Seed of the order of every epoch.

        Raises:
            ValueError: If a bound is not positive.
        """
        _check_bounds(batch_size, max_edges)
        self.num_edges = list(num_edges)
        self.batch_size = batch_size
        self.max_edges = max_edges
        self.seed = seed

    def batches(self, epoch: int) -> list[list[int]]:
        """Indices of the structures in each batch of an epoch (numbered from 0)."""
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(self.num_edges)).tolist()
        return _pack(order, self.num_edges, self.batch_size, self.max_edges)


def evaluation_batches(
    num_edges: Sequence[int], batch_size: int, max_edges: int | None = None
) -> list[list[int]]:
    """Batches in the order of the data set, for evaluation.

    Args:
        num_edges: Number of edges of each structure, or of atoms.
        batch_size: Maximum number of structures per batch.
        max_edges: Maximum of their sum per batch; a single structure may exceed it.

    Returns:
        Indices of the structures in each batch; concatenated they are 0, 1, 2, ...

    Raises:
        ValueError: If a bound is not positive.
    """
    _check_bounds(batch_size, max_edges)
    return _pack(range(len(num_edges)), num_edges, batch_size, max_edges)


def _check_bounds(batch_size: int, max_edges: int | None) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if max_edges is not None and max_edges < 1:
        raise ValueError(f"max_edges must be at least 1, got {max_edges}")


def _pack(
    order: Sequence[int],
    num_edges: Sequence[int],
    batch_size: int,
    max_edges: int | None,
) -> list[list[int]]:
    """Start a new batch wherever the next structure would exceed a bound."""
    batches: list[list[int]] = []
    edges = 0
    for n in order:
        full = not batches or len(batches[-1]) == batch_size
        if full or (max_edges is not None and edges + num_edges[n] > max_edges):
            batches.append([])
            edges = 0
        batches[-1].append(n)
        edges += num_edges[n]
    return batches
