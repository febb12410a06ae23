"""Neighbor list with a skin whose result depends on the current structure only.

A neighbor list with a skin contains longer pairs, in an order that depends on when the
search was done. Both change the order of sums, and thus the last bits of an energy.
Here, pairs beyond the cutoff are removed and the others are sorted, so that a restarted
simulation, with a search at another step, continues bit for bit.

Sorting, and the check that every edge has a reverse, are done once per search. A step
computes one distance per pair; as long as no pair crosses the cutoff, its edges are the
same arrays as before, so that whatever depends on them only can be kept.
"""

from dataclasses import replace

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Float64, Int64

from equipot.graph.edge_pairs import EdgePairs
from equipot.neighbors.graph_builder import build_graph
from equipot.neighbors.interface import NeighborList, trimmed
from equipot.neighbors.pairs import lengths_of, translations_of
from equipot.neighbors.verlet import VerletList


class CanonicalList:
    """Neighbor list with a skin and a canonical result.

    Args:
        cutoff: Cutoff radius in Å.
        skin: Additional search radius in Å.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        self._verlet = VerletList(cutoff, skin)
        self._found: NeighborList | None = None
        self._sorted: _SortedPairs | None = None

    def __call__(self, atoms: Atoms) -> NeighborList:
        """Pairs within the cutoff in canonical order, with distances.

        Args:
            atoms: Structure with finite positions and cell.

        Returns:
            New list; its index and shift are those of the last list if no pair has
            crossed the cutoff since, and no search was necessary.

        Raises:
            ValueError: If a search finds an edge without its reverse.
        """
        found = self._verlet(atoms.positions, atoms.cell.array, atoms.pbc)
        if self._sorted is None or found is not self._found:
            self._found, self._sorted = found, _SortedPairs(atoms, found.canonical())
        return self._sorted.within(atoms, self._verlet.cutoff)


class _SortedPairs:
    """Edges of a search in canonical order, in pairs of opposite ones.

    Args:
        atoms: Structure of the search.
        edges: Edges in canonical order.
    """

    def __init__(self, atoms: Atoms, edges: NeighborList) -> None:
        pairs = build_graph(atoms, edges.cutoff, neighbors=edges).pairs
        self._edges = edges
        self._of_edge: Int64[np.ndarray, " edges"] = pairs.of_edge.numpy()
        self._forward: Int64[np.ndarray, " pairs"] = pairs.forward.numpy()
        self._backward: Int64[np.ndarray, " pairs"] = pairs.backward.numpy()
        self._senders, self._receivers = edges.index[:, self._forward]
        self._shift = edges.shift[self._forward]
        self._translations: Float64[np.ndarray, "pairs 3"] | None = None
        self._set_cell(edges.cell)
        self._select(np.ones(len(self._forward), dtype=bool))

    def within(self, atoms: Atoms, cutoff: float) -> NeighborList:
        """Edges closer than the cutoff.

        Args:
            atoms: Structure with the atoms of the search.
            cutoff: Cutoff radius in Å.
        """
        positions, cell = atoms.positions.copy(), atoms.cell.array
        if cell.tobytes() != self._cell.tobytes():
            self._set_cell(cell.copy())
        lengths = lengths_of(
            positions, self._senders, self._receivers, self._translations
        )
        inside = lengths < cutoff
        if inside.tobytes() != self._inside:
            self._select(inside)
        if len(self._pairs.forward) < len(lengths):
            lengths = lengths[inside]
        current = replace(self._selected, positions=positions, cell=self._cell)
        # A pair and its reverse have the same length
        return trimmed(current, lengths.take(self._pairs.of_edge.numpy()), self._pairs)

    def _set_cell(self, cell: Float64[np.ndarray, "3 3"]) -> None:
        self._cell = cell
        if self._edges.pbc.any():
            self._translations = translations_of(self._shift, cell)

    def _select(self, inside: Bool[np.ndarray, " pairs"]) -> None:
        """Keep pairs, in the same order.

        A subset of pairs of opposite edges needs no further check: indices, order,
        translations and reverses are those of the whole list.
        """
        self._inside = inside.tobytes()
        if inside.all():  # no copies of the largest arrays
            numbers = self._of_edge, self._forward, self._backward
            self._pairs = EdgePairs(*(torch.from_numpy(n) for n in numbers))
            self._selected = self._edges
            return
        kept = inside[self._of_edge]
        edge, pair = np.cumsum(kept) - 1, np.cumsum(inside) - 1
        numbers = (
            pair[self._of_edge[kept]],
            edge[self._forward[inside]],
            edge[self._backward[inside]],
        )
        self._pairs = EdgePairs(*(torch.from_numpy(n) for n in numbers))
        self._selected = replace(
            self._edges, index=self._edges.index[:, kept], shift=self._edges.shift[kept]
        )
