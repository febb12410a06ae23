"""Edges of random molecules, on which products are measured."""

from typing import NamedTuple

import ase
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

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
    positions, offsets = [], []
    for number in range(count):
        positions.append(_molecule(rng))
        # far from the others, in a row
        offsets.append(np.full((ATOMS, 1), 10 * RADIUS * number))
    shifted = np.concatenate(positions)
    shifted[:, :1] += np.concatenate(offsets)
    return edges_of(ase.Atoms(f"C{len(shifted)}", positions=shifted))


def first_edges(count: int, *, seed: int = 0) -> Edges:
    """The first `count` edges of random molecules."""
    smallest_molecule = ATOMS * (ATOMS - 1) // 2
    many = molecules(1 + count // smallest_molecule, seed=seed)
    index = many.connectivity.edge_index[:, :count]
    return Edges(many.directions[:count], Connectivity(index, int(index.max()) + 1))


def edges_of(atoms: ase.Atoms) -> Edges:
    """All pairs within the cutoff, in both directions."""
    graph = build_graph(atoms, CUTOFF)
    senders, receivers = graph.edge_index
    vectors = graph.positions[senders] - graph.positions[receivers]
    vectors = vectors + graph.edge_shift.to(vectors) @ graph.cell[0]
    return Edges(
        torch.nn.functional.normalize(vectors),
        Connectivity(graph.edge_index, graph.num_atoms),
    )


def _molecule(rng: np.random.Generator) -> np.ndarray:
    """Random points in a ball with a minimum distance."""
    points: list[np.ndarray] = []
    while len(points) < ATOMS:
        point = rng.uniform(-RADIUS, RADIUS, 3)
        apart = all(np.linalg.norm(point - other) > CLOSEST for other in points)
        if np.linalg.norm(point) < RADIUS and apart:
            points.append(point)
    return np.array(points)
