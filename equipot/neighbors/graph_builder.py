"""Build graphs from structures and neighbor lists."""

from collections.abc import Sequence

import ase
import numpy as np
import torch

from equipot.graph.atomic_graph import AtomicGraph, with_pairs
from equipot.graph.edge_pairs import join_pairs
from equipot.neighbors.interface import NeighborList, neighbor_list
from equipot.neighbors.many import neighbor_lists


def build_graph(
    atoms: ase.Atoms,
    cutoff: float,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    backend: str = "auto",
    neighbors: NeighborList | None = None,
) -> AtomicGraph:
    """Build the graph of one structure.

    Args:
        atoms: Structure; may have no atoms or no edges.
        cutoff: Radius in Å within which the graph has all edges.
        dtype: Type of positions and cell; the neighbor search uses float64.
        device: Device of the graph; the neighbor search runs on the CPU.
        backend: As in `neighbor_list`.
        neighbors: Existing neighbor list, such as from `VerletList`; None to search. A
            graph on the CPU shares its memory.

    Returns:
        The graph, with copies of the data of `atoms`.

    Raises:
        ValueError: As in `neighbor_list`, or if `neighbors` has another number of atoms
            or a smaller cutoff.
    """
    cell = atoms.cell.array
    if neighbors is None:
        neighbors = neighbor_list(
            atoms.positions, cell, atoms.pbc, cutoff, backend=backend
        )
    else:
        _check_fits(atoms, neighbors, cutoff)
    graph = AtomicGraph(
        positions=torch.tensor(atoms.positions, dtype=dtype, device=device),
        atomic_numbers=torch.from_numpy(atoms.numbers.astype(np.int64)).to(device),
        cell=torch.tensor(cell, dtype=dtype, device=device).reshape(1, 3, 3),
        pbc=torch.tensor(atoms.pbc, device=device).reshape(1, 3),
        batch=torch.zeros(len(atoms), dtype=torch.int64, device=device),
        edge_index=torch.from_numpy(neighbors.index).to(device),
        edge_shift=torch.from_numpy(neighbors.shift).to(device),
        cutoff=float(cutoff),
    )
    if (pairs := neighbors.known_pairs) is None:
        return graph
    return with_pairs(graph, pairs.to(device))


def build_batch(
    structures: Sequence[ase.Atoms],
    cutoff: float,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    neighbors: Sequence[NeighborList] | None = None,
) -> AtomicGraph:
    """Build one graph of several structures.

    It is equal to ``collate([build_graph(atoms, ...) for atoms in structures])``, but
    is assembled, and its edges are checked and paired, in one pass over all structures.

    Args:
        structures: One or more structures; may have no atoms or no edges.
        cutoff: Radius in Å within which the graph has all edges.
        dtype: Type of positions and cells; the neighbor searches use float64.
        device: Device of the graph; the neighbor searches run on the CPU.
        neighbors: Existing neighbor lists of all structures; None to search.

    Returns:
        The graph, with copies of the data of all structures, in their order.

    Raises:
        ValueError: As in `build_graph`, or if there are no structures.
    """
    if not structures:
        raise ValueError("cannot build a graph of an empty sequence of structures")
    if neighbors is None:
        neighbors = neighbor_lists(structures, cutoff)
    for atoms, pairs in zip(structures, neighbors, strict=True):
        _check_fits(atoms, pairs, cutoff)
    atoms_of = np.array([len(atoms) for atoms in structures])
    edges_of = np.array([len(pairs.shift) for pairs in neighbors])
    first = np.repeat(np.cumsum(atoms_of) - atoms_of, edges_of)
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    positions = np.concatenate([atoms.positions for atoms in structures])
    cells = np.stack([atoms.cell.array for atoms in structures])
    index = np.concatenate([pairs.index for pairs in neighbors], axis=1) + first
    shift = np.concatenate([pairs.shift for pairs in neighbors])
    graph = AtomicGraph(
        positions=torch.from_numpy(positions).to(device, dtype),
        atomic_numbers=torch.from_numpy(numbers.astype(np.int64)).to(device),
        cell=torch.from_numpy(cells).to(device, dtype),
        pbc=torch.from_numpy(np.stack([atoms.pbc for atoms in structures])).to(device),
        batch=torch.from_numpy(np.repeat(np.arange(len(atoms_of)), atoms_of)).to(
            device
        ),
        edge_index=torch.from_numpy(index).to(device),
        edge_shift=torch.from_numpy(shift).to(device),
        cutoff=float(cutoff),
    )
    known = [found for pairs in neighbors if (found := pairs.known_pairs) is not None]
    if len(known) < len(neighbors):
        return graph
    return with_pairs(graph, join_pairs(known).to(device))


def _check_fits(atoms: ase.Atoms, neighbors: NeighborList, cutoff: float) -> None:
    """Raise if a neighbor list is not that of a structure within a cutoff."""
    if neighbors.num_atoms != len(atoms):
        raise ValueError(
            f"the neighbor list has {neighbors.num_atoms} atoms but the structure "
            f"has {len(atoms)}; search again"
        )
    if neighbors.cutoff < cutoff:
        raise ValueError(
            f"the neighbor list is complete within {neighbors.cutoff} Å only, less "
            f"than the cutoff of {cutoff} Å; search again with the larger cutoff"
        )
