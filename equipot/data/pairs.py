"""Pairs of elements and their shortest distances."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from equipot.graph.atomic_graph import AtomicGraph, edge_vectors


def pair_name(z1: int, z2: int) -> str:
    """Name of a pair of elements, the lighter one first: ``"H-O"``."""
    return f"{chemical_symbols[min(z1, z2)]}-{chemical_symbols[max(z1, z2)]}"


def parse_pair(pair: str) -> tuple[int, int]:
    """Atomic numbers of a pair of elements, the inverse of `pair_name`.

    Raises:
        ValueError: If `pair` is not two symbols joined by a hyphen.
    """
    symbols = pair.split("-")
    if len(symbols) != 2 or not all(s in atomic_numbers for s in symbols):
        raise ValueError(f"expected a pair like 'H-O', got {pair!r}")
    return atomic_numbers[symbols[0]], atomic_numbers[symbols[1]]


def pair_distances(graphs: Sequence[AtomicGraph]) -> dict[str, float]:
    """Shortest distance of each pair of elements.

    Args:
        graphs: Structures with edges.

    Returns:
        Distances in Å by `pair_name`, sorted by atomic numbers; pairs without an edge
        are omitted.
    """
    shortest: dict[tuple[int, int], float] = {}
    for graph in graphs:
        if graph.num_edges == 0:
            continue
        distance = edge_vectors(graph).norm(dim=1).double().numpy()
        ends = np.sort(graph.atomic_numbers[graph.edge_index].numpy(), axis=0)
        code = ends[0] * 256 + ends[1]
        order = np.lexsort((distance, code))
        codes, first = np.unique(code[order], return_index=True)
        for c, d in zip(codes.tolist(), distance[order][first].tolist(), strict=True):
            pair = divmod(c, 256)
            shortest[pair] = min(d, shortest.get(pair, np.inf))
    return {pair_name(*pair): float(shortest[pair]) for pair in sorted(shortest)}


def overall_minimum(closest: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Shortest distance in Å of each pair of elements over several structures.

    Args:
        closest: Results of `pair_distances` for each structure.

    Returns:
        Distances by `pair_name`, sorted by atomic numbers.
    """
    shortest: dict[str, float] = {}
    for distances in closest:
        for pair, distance in distances.items():
            shortest[pair] = min(distance, shortest.get(pair, distance))
    return {pair: shortest[pair] for pair in sorted(shortest, key=parse_pair)}
