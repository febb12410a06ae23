"""Neighbor lists of many structures; small molecules are searched all at once."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from ase import Atoms
from jaxtyping import Float64, Int64

from equipot.neighbors.interface import (
    MAX_COORDINATE,
    NeighborList,
    neighbor_list,
    trimmed,
)

MAX_ATOMS: Final = 100
"""Largest molecule whose pairs are all compared, which is then faster than a search."""

MAX_CANDIDATES: Final = 2**18
"""Number of pairs compared at a time, which limits the memory."""

BACKEND: Final = "all_pairs"
"""Name of the comparison of all pairs in `NeighborList.backend`."""


def neighbor_lists(
    structures: Sequence[Atoms], cutoff: float, numbers: Sequence[int] | None = None
) -> list[NeighborList]:
    """Find all directed pairs of atoms closer than a cutoff in each structure.

    The pairs are those of `neighbor_list`. Those of molecules without periodic
    directions and with few atoms are found in one array operation for many molecules,
    at a fraction of the cost of a search.

    Args:
        structures: Structures; periodic ones, molecules and single atoms may be mixed.
        cutoff: Cutoff radius in Å; pairs at exactly this distance are excluded.
        numbers: Numbers of the structures in error messages (default: 0, 1, ...).

    Returns:
        Pairs of each structure, sorted by receiver.

    Raises:
        ValueError: As in `neighbor_list`; the message contains the number of the
            structure.
    """
    found: dict[int, NeighborList] = {}
    for group in _groups(structures):
        lists = _molecules([structures[n] for n in group], cutoff)
        found |= zip(group, lists, strict=True)
    for n, atoms in enumerate(structures):
        if n not in found:
            number = n if numbers is None else numbers[n]
            found[n] = _searched(atoms, cutoff, number)
    return [found[n] for n in range(len(structures))]


def _searched(atoms: Atoms, cutoff: float, number: int) -> NeighborList:
    try:
        found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    except ValueError as error:
        raise ValueError(f"structure {number}: {error}") from error
    return trimmed(found, found.distances)


def _groups(structures: Sequence[Atoms]) -> list[list[int]]:
    """Indices of the small molecules, in groups of at most `MAX_CANDIDATES` pairs."""
    groups: list[list[int]] = []
    candidates = 0
    for n, atoms in enumerate(structures):
        if not _is_small_molecule(atoms):
            continue
        candidates += len(atoms) ** 2
        if not groups or candidates > MAX_CANDIDATES:
            groups.append([])
            candidates = len(atoms) ** 2
        groups[-1].append(n)
    return groups


def _is_small_molecule(atoms: Atoms) -> bool:
    """Whether all pairs are compared; invalid numbers are left to `neighbor_list`."""
    return bool(
        0 < len(atoms) <= MAX_ATOMS
        and not atoms.pbc.any()
        and np.abs(atoms.positions).max() <= MAX_COORDINATE
        and np.isfinite(atoms.cell.array).all()
    )


def _molecules(molecules: Sequence[Atoms], cutoff: float) -> list[NeighborList]:
    """Pairs of molecules by comparison of all pairs of atoms in each."""
    positions = np.concatenate([atoms.positions for atoms in molecules])
    counts = np.array([len(atoms) for atoms in molecules])
    squares = counts * counts
    owner = np.repeat(np.arange(len(counts)), squares)
    # pair k of a molecule of n atoms has receiver k // n and sender k % n
    pair = np.arange(len(owner)) - (np.cumsum(squares) - squares)[owner]
    receiver, sender = np.divmod(pair, counts[owner])
    squared = _squared_distances(
        positions, (np.cumsum(counts) - counts)[owner], sender, receiver
    )
    near = np.flatnonzero((squared < cutoff * cutoff) & (sender != receiver))
    ends = np.searchsorted(near, np.cumsum(squares)).tolist()
    index = np.stack([sender[near], receiver[near]])
    distances = np.sqrt(squared[near])
    lists = []
    first = 0
    for atoms, last in zip(molecules, ends, strict=True):
        pairs = NeighborList(
            index=index[:, first:last],
            shift=np.zeros((last - first, 3), dtype=np.int64),
            cutoff=float(cutoff),
            num_atoms=len(atoms),
            backend=BACKEND,
            positions=atoms.positions.copy(),
            cell=atoms.cell.array.copy(),
            pbc=atoms.pbc.copy(),
        )
        lists.append(trimmed(pairs, distances[first:last]))
        first = last
    return lists


def _squared_distances(
    positions: Float64[np.ndarray, "atoms 3"],
    first: Int64[np.ndarray, " pairs"],
    sender: Int64[np.ndarray, " pairs"],
    receiver: Int64[np.ndarray, " pairs"],
) -> Float64[np.ndarray, " pairs"]:
    """Equal bit for bit in both directions of a pair.

    Args:
        positions: Of all molecules.
        first: First atom of the molecule of each pair.
        sender: Sender within the molecule.
        receiver: Receiver within the molecule.
    """
    squared = np.zeros(len(first))
    senders, receivers = first + sender, first + receiver
    for axis in range(3):
        coordinate = positions[:, axis]
        component = coordinate[senders] - coordinate[receivers]
        squared += component * component
    return squared
