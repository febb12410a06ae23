"""Receptive fields: subgraphs that atoms and their forces depend on."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from equipot.graph.atomic_graph import AtomicGraph, edge_vectors, partial_graph


@dataclass(frozen=True)
class Surroundings:
    """Disjoint union of the neighborhoods of some atoms, in one graph.

    Nodes are sorted by neighborhood ("copy") and, within it, by atom.
    """

    graph: AtomicGraph
    """One structure in the original cell, without edges to the outermost nodes."""
    atoms: Int64[np.ndarray, " nodes"]
    """Original atom of each node."""
    distance: Int64[np.ndarray, " nodes"]
    """Number of edges between the center of the copy and the node."""
    row_pointers: Int64[np.ndarray, " centers_plus_1"]
    """Nodes of copy n: ``row_pointers[n]`` to ``row_pointers[n + 1]``, exclusive."""

    @property
    def centers(self) -> Int64[np.ndarray, " centers"]:
        """Center node of each copy."""
        return np.flatnonzero(self.distance == 0)

    def within(self, reach: int) -> Bool[Tensor, " nodes"]:
        """Mask of the nodes at most `reach` edges from the center of their copy."""
        return torch.from_numpy(self.distance <= reach).to(self.graph.positions.device)


class Neighborhoods:
    """Search for neighborhoods by breadth-first search on the atoms of the cell.

    Periodic images count as one atom: a copy has at most as many atoms as the cell, and
    edges keep their lattice translations, so the search is exact in cells of any size.

    Args:
        graph: One structure.
        cutoff: Cutoff in Å; longer edges are ignored.
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
        self, centers: Int64[np.ndarray, " centers"], reach: int
    ) -> Surroundings:
        """Neighborhoods of atoms within `reach` edges.

        Receivers of all edges are fewer than `reach` edges from the center.

        Args:
            centers: Atoms, with one copy for each.
            reach: Largest number of edges between a center and a node, at least 1.
        """
        keys, distance = self._search(centers, reach)
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
        pointers = np.searchsorted(copies, np.arange(len(centers) + 1))
        return Surroundings(partial_graph(graph), atoms, distance, pointers)

    def _search(
        self, centers: Int64[np.ndarray, " centers"], reach: int
    ) -> tuple[Int64[np.ndarray, " nodes"], Int64[np.ndarray, " nodes"]]:
        """Sorted keys ``copy * count + atom`` of all nodes, and their distances."""
        frontier = np.arange(len(centers)) * self.count + centers
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
        """Index in `atoms` of the receiver, and edge index, of all edges to `atoms`."""
        nodes = np.flatnonzero(wanted)
        first = self._pointers[atoms[nodes]]
        degree = self._pointers[atoms[nodes] + 1] - first
        ends = degree.cumsum()
        within = np.arange(degree.sum()) - np.repeat(ends - degree, degree)
        return np.repeat(nodes, degree), np.repeat(first, degree) + within
