"""Neighbor lists of many structures; small ones are searched all at once."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Int64

from equipot.graph.edge_pairs import EdgePairs
from equipot.neighbors.interface import NeighborList, neighbor_list, trimmed
from equipot.neighbors.small_systems import FoundPairs, Systems, search_small

MAX_ATOMS: Final = 100
"""Largest number of atoms of a small structure, for which all pairs are considered."""

MAX_IMAGES: Final = 200.0
"""Largest number of cells around an atom of a small structure."""

MAX_COORDINATE: Final = 1e4
"""Largest coordinate in Å of a small structure: the margin covers its rounding."""

MIN_RELATIVE_VOLUME: Final = 0.1
"""Smallest ratio of the volume of the cell of a small structure to the product of the
lengths of its vectors; others have more compact cells of the same lattice."""

MAX_CANDIDATES: Final = 2**18
"""Number of pairs compared at a time, which limits the memory."""

BACKEND: Final = "small_systems"
"""Name of the search of small structures in `NeighborList.backend`."""


def neighbor_lists(
    structures: Sequence[Atoms], cutoff: float, numbers: Sequence[int] | None = None
) -> list[NeighborList]:
    """Find all directed pairs of atoms closer than a cutoff in each structure.

    The pairs are those of `neighbor_list`. Small molecules and crystals are searched
    together by array operations, at a fraction of the cost of single searches.

    Args:
        structures: Structures; periodic ones, molecules and single atoms may be mixed.
        cutoff: Cutoff radius in Å; pairs at exactly this distance are excluded.
        numbers: Numbers of the structures in error messages (default: 0, 1, ...).

    Returns:
        Pairs of each structure, sorted by receiver, with distances.

    Raises:
        ValueError: As in `neighbor_list`; the message contains the number of the
            structure.
    """
    found: dict[int, NeighborList] = {}
    for group in _groups(structures, cutoff):
        lists = _search_together([structures[n] for n in group], cutoff)
        found |= zip(group, lists, strict=True)
    for n, atoms in enumerate(structures):
        if n not in found:
            number = n if numbers is None else numbers[n]
            found[n] = _search_alone(atoms, cutoff, number)
    return [found[n] for n in range(len(structures))]


def _search_alone(atoms: Atoms, cutoff: float, number: int) -> NeighborList:
    try:
        found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    except ValueError as error:
        raise ValueError(f"structure {number}: {error}") from error
    return trimmed(found, found.distances)


def _groups(structures: Sequence[Atoms], cutoff: float) -> list[list[int]]:
    """Indices of the small structures, in groups of at most `MAX_CANDIDATES` pairs."""
    groups: list[list[int]] = []
    total = 0.0
    for n, candidates in enumerate(_candidates(structures, cutoff)):
        if candidates == 0:
            continue
        total += candidates
        if not groups or total > MAX_CANDIDATES:
            groups.append([])
            total = candidates
        groups[-1].append(n)
    return groups


def _candidates(structures: Sequence[Atoms], cutoff: float) -> list[float]:
    """Bound of the number of pairs to compare; 0 for structures that are not small.

    Invalid structures are not small either, and left to `neighbor_list`.
    """
    if not structures or not 0 < cutoff < np.inf:
        return [0.0] * len(structures)
    counts = np.array([len(atoms) for atoms in structures], dtype=float)
    pbc = np.array([atoms.pbc for atoms in structures])
    cells = np.array([atoms.cell.array for atoms in structures])
    valid = np.isfinite(cells).all(axis=(1, 2)) & np.array(
        [
            np.abs(atoms.positions).max(initial=0) < MAX_COORDINATE
            for atoms in structures
        ]
    )
    cells[~valid] = 0.0
    normals = np.cross(cells[:, (1, 2, 0)], cells[:, (2, 0, 1)])
    volumes = np.abs((normals[:, 0] * cells[:, 0]).sum(axis=1))
    compact = volumes > MIN_RELATIVE_VOLUME * np.linalg.norm(cells, axis=2).prod(axis=1)
    crystal = pbc.all(axis=1) & compact
    heights = np.where(crystal, volumes, 1.0)[:, None] / np.where(
        crystal[:, None], np.linalg.norm(normals, axis=2), 1.0
    )
    images = np.where(crystal, (2 * cutoff / heights + 1).prod(axis=1), 1.0)
    small = valid & (crystal | ~pbc.any(axis=1))
    small &= (counts <= MAX_ATOMS) & (images <= MAX_IMAGES)
    candidates: list[float] = np.where(small, counts**2 * images, 0.0).tolist()
    return candidates


def _search_together(structures: Sequence[Atoms], cutoff: float) -> list[NeighborList]:
    """Neighbor lists of small structures with one or more atoms."""
    systems = Systems(
        positions=np.concatenate([atoms.positions for atoms in structures]),
        counts=np.array([len(atoms) for atoms in structures]),
        cells=np.array([atoms.cell.array for atoms in structures]),
        periodic=np.array([atoms.pbc.any() for atoms in structures]),
    )
    found = search_small(systems, cutoff)
    order, of_edge, forward, backward = _both_directions(found)
    numbers = np.bincount(found.system, minlength=len(structures))
    before = np.cumsum(numbers) - numbers
    first = np.repeat(systems.first, 2 * numbers)
    of_edge -= np.repeat(before, 2 * numbers)
    forward -= np.repeat(2 * before, numbers)
    backward -= np.repeat(2 * before, numbers)
    index = np.empty((2, len(order)), dtype=np.int64)
    index[0] = np.concatenate([found.sender, found.receiver]).take(order) - first
    index[1] = np.concatenate([found.receiver, found.sender]).take(order) - first
    shift = np.concatenate([found.shift, -found.shift]).take(order, axis=0)
    distances = np.concatenate([found.distances, found.distances]).take(order)
    pairs = [torch.from_numpy(part) for part in (of_edge, forward, backward)]
    lists = []
    ends = np.cumsum(numbers).tolist()
    for atoms, a, b in zip(structures, [0, *ends], ends, strict=False):
        own = NeighborList(
            index=index[:, 2 * a : 2 * b],
            shift=shift[2 * a : 2 * b],
            cutoff=float(cutoff),
            num_atoms=len(atoms),
            backend=BACKEND,
            positions=atoms.positions.copy(),
            cell=atoms.cell.array.copy(),
            pbc=atoms.pbc.copy(),
        )
        own_pairs = EdgePairs(pairs[0][2 * a : 2 * b], pairs[1][a:b], pairs[2][a:b])
        lists.append(trimmed(own, distances[2 * a : 2 * b], own_pairs))
    return lists


def _both_directions(
    found: FoundPairs,
) -> tuple[
    Int64[np.ndarray, " edges"],
    Int64[np.ndarray, " edges"],
    Int64[np.ndarray, " pairs"],
    Int64[np.ndarray, " pairs"],
]:
    """Order by receiver of the pairs followed by their reverses, and `EdgePairs`."""
    count = len(found.receiver)
    receiver = np.concatenate([found.receiver, found.sender])
    if receiver.max(initial=0) < 2**16:
        receiver = receiver.astype(np.uint16)  # NumPy uses radix sort for these
    order = np.argsort(receiver, kind="stable")
    place = np.empty(2 * count, dtype=np.int64)
    place[order] = np.arange(2 * count)
    forward = np.minimum(place[:count], place[count:])
    backward = np.maximum(place[:count], place[count:])
    ascending = np.argsort(forward)
    forward, backward = forward[ascending], backward[ascending]
    of_edge = np.empty(2 * count, dtype=np.int64)
    of_edge[forward] = of_edge[backward] = np.arange(count)
    return order, of_edge, forward, backward
