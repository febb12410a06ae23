"""Build graphs from structures and neighbor lists."""

import ase
import numpy as np
import torch

from equipot.graph.atomic_graph import AtomicGraph, with_pairs
from equipot.neighbors.interface import NeighborList, neighbor_list


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
    elif neighbors.num_atoms != len(atoms):
        raise ValueError(
            f"the neighbor list has {neighbors.num_atoms} atoms but the structure "
            f"has {len(atoms)}; search again"
        )
    elif neighbors.cutoff < cutoff:
        raise ValueError(
            f"the neighbor list is complete within {neighbors.cutoff} Å only, less "
            f"than the cutoff of {cutoff} Å; search again with the larger cutoff"
        )
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
