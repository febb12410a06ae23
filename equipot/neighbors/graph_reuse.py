"""Graphs of a moving structure, which share what does not change from step to step."""

from typing import final

import ase
import torch

from equipot.graph.atomic_graph import AtomicGraph
from equipot.neighbors.graph_builder import build_graph
from equipot.neighbors.interface import NeighborList


@final
class GraphReuse:
    """Build graphs of one structure after another.

    While edges, atomic numbers and periodicity are those of the last graph, the new one
    has the same tensors, except for the positions and, if it changed, the cell. What a
    model computes from `AtomicGraph.edge_index` and `AtomicGraph.atomic_numbers` can
    thus be kept as long as they are the same objects.

    Args:
        cutoff: Radius in Å within which the graphs have all edges.
    """

    def __init__(self, cutoff: float) -> None:
        self._cutoff = cutoff
        self._last: tuple[NeighborList, bytes, AtomicGraph] | None = None

    def __call__(
        self, atoms: ase.Atoms, neighbors: NeighborList, device: torch.device
    ) -> AtomicGraph:
        """Graph as of `build_graph`, with float64 positions.

        Args:
            atoms: Structure.
            neighbors: Its neighbor list. Its edges are compared with those of the last
                list as objects, so its arrays must not be changed in place.
            device: Device of the graph; on the CPU it shares memory of the list.

        Raises:
            ValueError: As in `build_graph`.
        """
        constants = atoms.numbers.tobytes() + neighbors.pbc.tobytes()
        if self._last is not None:
            before, known, graph = self._last
            if (
                neighbors.index is before.index
                and neighbors.shift is before.shift
                and constants == known
                and graph.positions.device == device
            ):
                return _moved(graph, neighbors, before)
        graph = build_graph(atoms, self._cutoff, device=device, neighbors=neighbors)
        self._last = neighbors, constants, graph
        return graph


def _moved(
    graph: AtomicGraph, neighbors: NeighborList, before: NeighborList
) -> AtomicGraph:
    """Graph with the positions of a neighbor list."""
    device = graph.positions.device
    positions = torch.from_numpy(neighbors.positions).to(device)
    if neighbors.cell.tobytes() == before.cell.tobytes():
        return graph.moved(positions, graph.cell)
    cell = torch.from_numpy(neighbors.cell).to(device)
    return graph.moved(positions, cell.reshape(1, 3, 3))
