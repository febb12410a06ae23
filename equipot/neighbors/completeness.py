"""Check the completeness of the edges of a graph."""

import numpy as np
import torch
from jaxtyping import Int

from equipot.graph.atomic_graph import AtomicGraph, check_edges
from equipot.neighbors.interface import neighbor_list

ROUNDING_FACTOR = 8.0
"""Multiple of the rounding error of the largest coordinate that is tolerated."""


class IncompleteGraphError(ValueError):
    """A graph lacks edges between atoms closer than its cutoff."""


def check_complete(graph: AtomicGraph) -> None:
    """Check the edges of a graph against a new neighbor search.

    A graph with missing edges, for example from a search with a limited number of
    neighbors, or with another cutoff than stated, yields plausible but wrong energies.
    The cost is one neighbor search per structure.

    Args:
        graph: One structure or a batch, on any device.

    Raises:
        IncompleteGraphError: If an edge within ``graph.cutoff`` is missing; the message
            contains the first one.
        ValueError: As in `equipot.graph.atomic_graph.check_edges`, or if coordinates
            are too large to resolve the cutoff.
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
                f"the graph should have all pairs of atoms within {graph.cutoff:g} "
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
    margin = ROUNDING_FACTOR * torch.finfo(graph.positions.dtype).eps * largest
    if margin > graph.cutoff / 10:
        raise ValueError(
            f"coordinates up to {largest:.3g} Å in {graph.positions.dtype} have a "
            f"precision of {margin:.3g} Å, which does not resolve a cutoff of "
            f"{graph.cutoff:g} Å: move the structure to the origin, or use float64"
        )
    # pairs at the cutoff within rounding are not required
    found = neighbor_list(
        positions, cell, graph.pbc[number].cpu().numpy(), graph.cutoff - margin
    )
    theirs = np.column_stack([atoms[found.index].T, found.shift])
    kind = np.dtype((np.void, theirs.dtype.itemsize * 5))
    known = np.ascontiguousarray(ours, theirs.dtype).view(kind)[:, 0]
    return theirs[~np.isin(np.ascontiguousarray(theirs).view(kind)[:, 0], known)]
