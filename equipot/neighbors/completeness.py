"""Completeness of the edges of a graph within a cutoff."""

import numpy as np
import torch
from jaxtyping import Int

from equipot.graph.atomic_graph import AtomicGraph, check_edges
from equipot.neighbors.interface import neighbor_list

ROUNDING = 8.0
"""Rounding errors of the largest coordinate within which a distance is known."""


class IncompleteGraphError(ValueError):
    """A graph lacks pairs of atoms that are closer than its cutoff."""


def check_complete(graph: AtomicGraph) -> None:
    """Search for neighbors again, and compare.

    A graph with too few edges, such as from a search that stops at a number of
    neighbors, or with another cutoff than it states, gives energies that look right and
    are not. This finds it; it costs one neighbor search for each structure.

    Args:
        graph: One structure or a batch, on any device.

    Raises:
        IncompleteGraphError: If a pair closer than ``graph.cutoff`` is missing; names
            the first one.
        ValueError: As `equipot.graph.atomic_graph.check_edges`, or if coordinates are
            so large that rounding hides which pairs are within the cutoff.
    """
    check_edges(graph)
    index = graph.edge_index.cpu().numpy()
    ours = np.column_stack([index.T, graph.edge_shift.cpu().numpy()])
    for number in range(graph.num_graphs):
        missing = _missing(graph, number, ours)
        if len(missing):
            sender, receiver, *shift = missing[0].tolist()
            where = f" of structure {number}" if graph.num_graphs > 1 else ""
            raise IncompleteGraphError(
                f"the graph is said to have all pairs of atoms within {graph.cutoff:g} "
                f"Å, but {len(missing)} edges{where} are missing, such as atom "
                f"{sender} to atom {receiver} with translation {shift}. Rebuild it "
                "with build_graph; check that no limit on the number of neighbors was "
                "set, and that edge vectors are "
                "r[sender] + translation @ cell - r[receiver]"
            )


def _missing(
    graph: AtomicGraph, number: int, ours: Int[np.ndarray, "edges 5"]
) -> Int[np.ndarray, "missing 5"]:
    """Edges of one structure that the graph lacks."""
    atoms = (graph.batch == number).cpu().numpy().nonzero()[0]
    positions = graph.positions.detach().double().cpu().numpy()[atoms]
    cell = graph.cell[number].detach().double().cpu().numpy()
    largest = max(np.abs(positions).max(initial=0.0), np.abs(cell).max(initial=0.0))
    margin = ROUNDING * torch.finfo(graph.positions.dtype).eps * largest
    if margin > graph.cutoff / 10:
        raise ValueError(
            f"coordinates up to {largest:.3g} Å in {graph.positions.dtype} are known "
            f"to {margin:.3g} Å only, so pairs within {graph.cutoff:g} Å cannot be "
            "told: move the structure to the origin, or use float64"
        )
    # pairs at the cutoff, which rounding may put on either side, do not count
    found = neighbor_list(
        positions, cell, graph.pbc[number].cpu().numpy(), graph.cutoff - margin
    )
    theirs = np.column_stack([atoms[found.index].T, found.shift])
    kind = np.dtype((np.void, theirs.dtype.itemsize * 5))
    known = np.ascontiguousarray(ours, theirs.dtype).view(kind)[:, 0]
    return theirs[~np.isin(np.ascontiguousarray(theirs).view(kind)[:, 0], known)]
