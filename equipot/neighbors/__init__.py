"""Periodic neighbor lists: all directed pairs of atoms closer than a cutoff."""

from equipot.neighbors.canonical_list import CanonicalList
from equipot.neighbors.completeness import IncompleteGraphError, check_complete
from equipot.neighbors.dimensionality import connected_parts, dimensionality
from equipot.neighbors.graph_builder import build_batch, build_graph
from equipot.neighbors.graph_reuse import GraphReuse
from equipot.neighbors.interface import BACKENDS, NeighborList, neighbor_list
from equipot.neighbors.many import neighbor_lists
from equipot.neighbors.pyg import from_pyg, to_pyg
from equipot.neighbors.verlet import VerletList

__all__ = [
    "BACKENDS",
    "CanonicalList",
    "GraphReuse",
    "IncompleteGraphError",
    "NeighborList",
    "VerletList",
    "build_batch",
    "build_graph",
    "check_complete",
    "connected_parts",
    "dimensionality",
    "from_pyg",
    "neighbor_list",
    "neighbor_lists",
    "to_pyg",
]
