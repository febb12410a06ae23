"""Periodic neighbor lists: every directed pair of atoms closer than a cutoff."""

from equipot.neighbors.graph_builder import build_graph
from equipot.neighbors.interface import BACKENDS, NeighborList, neighbor_list
from equipot.neighbors.verlet import VerletList

__all__ = ["BACKENDS", "NeighborList", "VerletList", "build_graph", "neighbor_list"]
