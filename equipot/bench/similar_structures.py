"""Smaller and larger structures with the neighborhoods of a given one."""

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from equipot.neighbors import neighbor_list

MIN_ATOMS = 64
"""Fewest atoms of the smallest structure."""
CONTACT = 0.9
"""Pairs closer than this fraction of the shortest distance lose an atom."""
GAP = 1.0
"""Distance in Å beyond the cutoff between copies of what is not periodic."""


def similar_structures(atoms: Atoms, cutoff: float) -> Iterator[Atoms]:
    """Structures of growing size, each with about twice the atoms of the one before.

    Smaller ones are parts: half of the cell along its longest direction, and so on.
    Larger ones are supercells, doubled along the shortest periodic direction. What is
    not periodic is repeated at distances beyond the cutoff.

    Args:
        atoms: A structure.
        cutoff: Cutoff radius in Å.

    Yields:
        Structures without end. The first has `MIN_ATOMS` to twice as many atoms where
        that is possible; a smaller one that is not periodic comes before.
    """
    sizes = [atoms]
    while len(sizes[-1]) >= 2 * MIN_ATOMS:
        part = half(sizes[-1], cutoff)
        if not MIN_ATOMS <= len(part) < len(sizes[-1]):
            break
        sizes.append(part)
    isolated = not atoms.pbc.any()
    yield from (s for s in reversed(sizes) if isolated or len(s) >= MIN_ATOMS)
    while True:
        atoms = double(atoms, cutoff)
        if isolated or len(atoms) >= MIN_ATOMS:
            yield atoms


def double(atoms: Atoms, cutoff: float) -> Atoms:
    """Two copies, side by side along the shortest periodic direction.

    Args:
        atoms: A structure; without periodic direction, the copies do not interact.
        cutoff: Cutoff radius in Å.
    """
    if atoms.pbc.any():
        lengths = np.where(atoms.pbc, atoms.cell.lengths(), np.inf)
        repeats = [1, 1, 1]
        repeats[int(lengths.argmin())] = 2
        repeated: Atoms = atoms.repeat(repeats)
        return repeated
    extent = np.ptp(atoms.positions, axis=0)
    shift = np.zeros(3)
    shift[extent.argmin()] = extent.min() + cutoff + GAP
    copy = atoms.copy()
    copy.positions += shift
    both: Atoms = atoms + copy
    return both


def half(atoms: Atoms, cutoff: float) -> Atoms:
    """Half of a structure along its longest direction.

    Atoms that the cut brings closer together than any in `atoms` are removed.

    Args:
        atoms: A structure.
        cutoff: Cutoff radius in Å, within which distances are compared.
    """
    if atoms.pbc.any():
        axis = int(np.where(atoms.pbc, atoms.cell.lengths(), 0.0).argmax())
        part = atoms[atoms.get_scaled_positions()[:, axis] < 0.5]
        cell = part.cell.array.copy()
        cell[axis] /= 2
        part.set_cell(cell)
        part.wrap()
    else:
        axis = int(np.ptp(atoms.positions, axis=0).argmax())
        along = atoms.positions[:, axis]
        part = atoms[along <= np.median(along)]
    shortest = _neighbors(atoms, cutoff)[2].min(initial=cutoff)
    receivers, senders, distances = _neighbors(part, cutoff)
    close = (distances < CONTACT * shortest) & (senders <= receivers)
    kept: Atoms = part[np.setdiff1d(np.arange(len(part)), receivers[close])]
    return kept


def num_edges(atoms: Atoms, cutoff: float) -> int:
    """Number of directed pairs closer than the cutoff."""
    return len(_neighbors(atoms, cutoff)[2])


def _neighbors(
    atoms: Atoms, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    senders, receivers = found.index
    return receivers, senders, found.distances
