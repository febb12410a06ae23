"""Receptive fields: subgraphs on which some atoms and their forces depend."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from equipot.graph.atomic_graph import AtomicGraph, edge_vectors, partial_graph


@dataclass(frozen=True)
class Surroundings:
    """Disconnected copies of the surroundings of some atoms, in one graph.

    Nodes are sorted by copy and, within it, by the atom that they are a copy of.
    """

    graph: AtomicGraph
    """One structure in the cell of the whole; it lacks edges to the outermost nodes."""
    atoms: Int64[np.ndarray, " nodes"]
    """Which atom of the whole a node is."""
    distance: Int64[np.ndarray, " nodes"]
    """Edges between the centre of the copy and the node."""
    row_pointers: Int64[np.ndarray, " centres_plus_1"]
    """Nodes of copy n are ``row_pointers[n]`` up to the next."""

    @property
    def centres(self) -> Int64[np.ndarray, " centres"]:
        """The node at the centre of each copy."""
        return np.flatnonzero(self.distance == 0)

    def within(self, reach: int) -> Bool[Tensor, " nodes"]:
        """Nodes at most this many edges away from the centre of their copy."""
        return torch.from_numpy(self.distance <= reach).to(self.graph.positions.device)


class Neighborhoods:
    """Finds surroundings by breadth-first search on the atoms of the cell.

    Periodic images are one atom: a copy never holds more atoms than the cell, and edges
    keep their lattice translations. The search is therefore exact in cells of any size.

    Args:
        graph: One structure.
        cutoff: Edges that are longer carry nothing.
    """

    def __init__(self, graph: AtomicGraph, cutoff: float) -> None:
        felt = (edge_vectors(graph).norm(dim=1) < cutoff).cpu().numpy()
        self.graph = graph
        self.count = graph.num_atoms
        index = graph.edge_index.cpu().numpy()[:, felt]
        self._senders = index[0]
        self._shift = graph.edge_shift.cpu().numpy()[felt]
        bounds = np.arange(self.count + 1)
        self._pointers = np.searchsorted(index[1], bounds)

    def around(
        self, centres: Int64[np.ndarray, " centres"], reach: int
    ) -> Surroundings:
        """Surroundings of atoms out to `reach` edges.

        All edges arrive at nodes that are fewer than `reach` edges away.

        Args:
            centres: Atoms, one copy for each.
            reach: Edges between a centre and the farthest node, at least 1.
        """
        keys, distance = self._search(centres, reach)
        copies, atoms = np.divmod(keys, self.count)
        receivers, edges = self._incoming(atoms, distance < reach)
        sender_keys = copies[receivers] * self.count + self._senders[edges]
        senders = np.searchsorted(keys, sender_keys)
        whole = self.graph
        device = whole.positions.device
        chosen = torch.from_numpy(atoms).to(device)
        graph = replace(
            whole,
            positions=whole.positions.detach()[chosen],
            atomic_numbers=whole.atomic_numbers[chosen],
            batch=torch.zeros_like(chosen),
            edge_index=torch.from_numpy(np.stack([senders, receivers])).to(device),
            edge_shift=torch.from_numpy(self._shift[edges]).to(device),
        )
        pointers = np.searchsorted(copies, np.arange(len(centres) + 1))
        return Surroundings(partial_graph(graph), atoms, distance, pointers)

    def _search(
        self, centres: Int64[np.ndarray, " centres"], reach: int
    ) -> tuple[Int64[np.ndarray, " nodes"], Int64[np.ndarray, " nodes"]]:
        """Sorted keys ``copy * count + atom`` of all nodes, and their distances."""
        frontier = np.arange(len(centres)) * self.count + centres
        keys, distance = frontier, np.zeros(len(frontier), dtype=np.int64)
        for step in range(1, reach + 1):
            copies, atoms = np.divmod(frontier, self.count)
            nodes, edges = self._incoming(atoms, np.ones(len(atoms), dtype=bool))
            reached = np.unique(copies[nodes] * self.count + self._senders[edges])
            place = np.searchsorted(keys, reached).clip(max=len(keys) - 1)
            frontier = reached[keys[place] != reached]
            both = np.concatenate([keys, frontier])
            order = np.argsort(both, kind="stable")
            far = np.full(len(frontier), step, dtype=np.int64)
            keys, distance = both[order], np.concatenate([distance, far])[order]
        return keys, distance

    def _incoming(
        self, atoms: Int64[np.ndarray, " nodes"], wanted: Bool[np.ndarray, " nodes"]
    ) -> tuple[Int64[np.ndarray, " edges"], Int64[np.ndarray, " edges"]]:
        """Position in `atoms` of the receiver, and number, of all edges to `atoms`."""
        nodes = np.flatnonzero(wanted)
        first = self._pointers[atoms[nodes]]
        degree = self._pointers[atoms[nodes] + 1] - first
        ends = degree.cumsum()
        within = np.arange(degree.sum()) - np.repeat(ends - degree, degree)
        return np.repeat(nodes, degree), np.repeat(first, degree) + within
