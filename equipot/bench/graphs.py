"""Edges of random molecules, on which products are measured."""

from typing import NamedTuple

import ase
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from equipot.graph.atomic_graph import edge_vectors
from equipot.graph.connectivity import Connectivity
from equipot.neighbors import build_graph

CUTOFF = 5.0
"""Radius of the neighborhoods in Å."""
ATOMS = 27
"""Atoms of a molecule."""
RADIUS = 3.4
"""Radius of a molecule in Å: about 22 neighbors within the cutoff."""
CLOSEST = 1.0
"""Shortest distance between atoms of a molecule, in Å."""


class Edges(NamedTuple):
    """Directed edges, sorted by receiver."""

    directions: Float[Tensor, "edges 3"]
    """Unit vectors, in float64."""
    connectivity: Connectivity
    """Senders and receivers."""


def molecules(count: int, *, seed: int = 0) -> Edges:
    """Edges of random molecules of 27 atoms, about 600 of each."""
    rng = np.random.default_rng(seed)
    places = np.arange(count)[:, None, None] * [10 * RADIUS, 0, 0]  # in a row
    positions = np.stack([_molecule(rng) for _ in range(count)]) + places
    return edges_of(ase.Atoms(f"C{count * ATOMS}", positions.reshape(-1, 3)))


def first_edges(count: int, *, seed: int = 0) -> Edges:
    """The first `count` edges of random molecules."""
    smallest_molecule = ATOMS * (ATOMS - 1) // 2
    many = molecules(1 + count // smallest_molecule, seed=seed)
    index = many.connectivity.edge_index[:, :count]
    return Edges(many.directions[:count], Connectivity(index, int(index.max()) + 1))


def edges_of(atoms: ase.Atoms) -> Edges:
    """All pairs within the cutoff, in both directions."""
    graph = build_graph(atoms, CUTOFF)
    directions = torch.nn.functional.normalize(edge_vectors(graph))
    return Edges(directions, Connectivity(graph.edge_index, graph.num_atoms))


def _molecule(rng: np.random.Generator) -> np.ndarray:
    """Random points in a ball with a minimum distance."""
    points: list[np.ndarray] = []
    while len(points) < ATOMS:
        point = rng.uniform(-RADIUS, RADIUS, 3)
        apart = all(np.linalg.norm(point - other) > CLOSEST for other in points)
        if np.linalg.norm(point) < RADIUS and apart:
            points.append(point)
    return np.array(points)
