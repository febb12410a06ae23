"""Per-structure summary used by the checks, in place of graphs."""

import math
from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii
from jaxtyping import Float, Int
from numpy import ndarray

from equipot.data.checks.fingerprint import fingerprint, orientation
from equipot.data.pairs import pair_distances
from equipot.data.structure import Structure
from equipot.graph.atomic_graph import AtomicGraph, edge_vectors
from equipot.neighbors import build_graph

CUTOFF = 5.0
"""Radius in Å of the pairs that are looked at."""
MOLECULE_CUTOFF = 25.0
"""The same for structures that do not repeat."""
LARGEST_MOLECULE = 400
"""Atoms up to which all pairs of a molecule are looked at."""
BONDED = 1.25
"""Distance over the sum of covalent radii up to which two atoms count as bonded."""
ASYMMETRY = 0.02
"""Size of the sum of weighted unit vectors above which nothing makes a force vanish."""


@dataclass(frozen=True)
class Facts:
    """One structure, its labels as arrays, and what its geometry says."""

    structure: Structure
    """Structure with labels."""
    file: int
    """Position of its file among those examined."""
    energy: float
    """Energy in eV, or NaN."""
    forces: Float[ndarray, "atoms 3"]
    """Forces in eV/Å, or NaN."""
    stress: Float[ndarray, "3 3"]
    """Stress in eV/Å^3, or NaN."""
    volume: float
    """Volume in Å^3; 0 for a structure that is not 3D-periodic."""
    fingerprint: Float[ndarray, " numbers"]
    """Numbers of `equipot.data.checks.fingerprint`, and the size of the cell."""
    orientation: Float[ndarray, "3 3"]
    """Differs between a structure and the same one rotated."""
    minimum_distances: dict[str, float]
    """Shortest distance in Å of each pair of elements."""
    closeness: float
    """Shortest distance as a fraction of the sum of covalent radii."""
    nearest: Float[ndarray, " atoms"]
    """Distance of each atom to its nearest neighbor, as a fraction of the sum of the
    covalent radii; infinite if there is none."""
    bonds: Int[ndarray, " atoms"]
    """Neighbors of each atom within `BONDED` times the sum of the covalent radii."""
    unexplained_zeros: int
    """Atoms with a force of exactly zero that no symmetry makes vanish."""

    @property
    def free(self) -> bool:
        """Whether no atom has a neighbor: the energy is that of isolated atoms."""
        return bool(np.isinf(self.nearest).all())

    @property
    def source(self) -> str:
        """File and frame."""
        return self.structure.source

    @property
    def num_atoms(self) -> int:
        """Atoms of the structure."""
        return len(self.structure.atoms)

    @property
    def numbers(self) -> ndarray:
        """Atomic numbers."""
        return self.structure.atoms.numbers

    @property
    def composition(self) -> tuple[int, ...]:
        """Sorted atomic numbers."""
        return tuple(sorted(self.numbers.tolist()))


def gather_facts(structure: Structure, file: int) -> Facts:
    """Look at a structure.

    Args:
        structure: Structure with labels.
        file: Position of its file among those examined.

    Returns:
        Its facts.
    """
    atoms, labels = structure.atoms, structure.labels
    graph = build_graph(atoms, CUTOFF)
    vectors = edge_vectors(graph).numpy()
    distance = np.linalg.norm(vectors, axis=1)
    ends = graph.atomic_numbers.numpy()[graph.edge_index.numpy()]
    radii = covalent_radii[ends].sum(axis=0)
    nearest = np.full(len(atoms), math.inf)
    np.minimum.at(nearest, graph.edge_index.numpy()[1], distance / radii)
    bonded = graph.edge_index.numpy()[1][distance < BONDED * radii]
    around, edges, radius = _surroundings(structure, graph, vectors)
    volume = float(atoms.get_volume()) if atoms.pbc.all() else 0.0
    return Facts(
        structure=structure,
        file=file,
        energy=float(labels.energy),
        forces=labels.forces.numpy(),
        stress=labels.stress[0].numpy(),
        volume=volume,
        fingerprint=np.append(
            fingerprint(around, edges, atoms.numbers, radius), np.cbrt(volume)
        ),
        orientation=orientation(around, radius),
        minimum_distances=pair_distances([graph]),
        closeness=float((distance / radii).min()) if len(distance) else math.inf,
        nearest=nearest,
        bonds=np.bincount(bonded, minlength=len(atoms)),
        unexplained_zeros=_unexplained_zeros(
            labels.forces.numpy(), graph, vectors, distance
        ),
    )


def _surroundings(
    structure: Structure, graph: AtomicGraph, vectors: ndarray
) -> tuple[ndarray, ndarray, float]:
    """Edge vectors, edges and radius to recognize a structure by.

    For a molecule all pairs: parts of it may be farther apart than `CUTOFF`.
    """
    atoms = structure.atoms
    if atoms.pbc.any() or len(atoms) > LARGEST_MOLECULE:
        return vectors, graph.edge_index.numpy(), CUTOFF
    edges = np.stack(np.nonzero(~np.eye(len(atoms), dtype=bool)))
    pairs = atoms.positions[edges[0]] - atoms.positions[edges[1]]
    return pairs, edges, MOLECULE_CUTOFF


def _unexplained_zeros(
    forces: ndarray, graph: AtomicGraph, vectors: ndarray, distance: ndarray
) -> int:
    """Atoms with a force of exactly zero although their surroundings are lopsided.

    The sum of unit vectors to the neighbors, weighted by distance, vanishes by symmetry
    where the force does; elements are left out, which only makes fewer atoms count.
    """
    zero = (forces == 0).all(axis=1)
    if not zero.any() or len(distance) == 0:
        return 0
    weight = np.exp(-distance) * (1 - (distance / CUTOFF) ** 2) ** 2
    pull = np.zeros_like(forces)
    np.add.at(pull, graph.edge_index[1].numpy(), vectors * (weight / distance)[:, None])
    return int((zero & (np.linalg.norm(pull, axis=1) > ASYMMETRY)).sum())
