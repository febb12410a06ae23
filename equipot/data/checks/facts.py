"""Per-structure summary used by the checks instead of graphs."""

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
"""Cutoff radius in Å of pairs in structures with periodic directions."""
MOLECULE_CUTOFF = 25.0
"""Cutoff radius in Å of pairs in non-periodic structures."""
MAX_MOLECULE_ATOMS = 400
"""Maximum number of atoms of a molecule for which all pairs are computed."""
MAX_BOND_RATIO = 1.25
"""Distance over the sum of covalent radii up to which two atoms count as bonded."""
MIN_ASYMMETRY = 0.02
"""Magnitude of the mean weighted unit vector above which symmetry does not make the
force on an atom vanish."""


@dataclass(frozen=True)
class Facts:
    """One structure, its labels as arrays, and geometric quantities."""

    structure: Structure
    """Structure with labels."""
    file: int
    """Index of its file."""
    energy: float
    """Energy in eV, or NaN."""
    forces: Float[ndarray, "atoms 3"]
    """Forces in eV/Å, or NaN."""
    stress: Float[ndarray, "3 3"]
    """Stress in eV/Å^3, or NaN."""
    volume: float
    """Volume in Å^3; 0 for a structure that is not 3D-periodic."""
    fingerprint: Float[ndarray, " numbers"]
    """Invariants of `equipot.data.checks.fingerprint`, and the size of the cell."""
    orientation: Float[ndarray, "3 3"]
    """Orientation tensor; differs between a structure and a rotated copy."""
    minimum_distances: dict[str, float]
    """Shortest distance in Å of each pair of elements."""
    closeness: float
    """Shortest distance as a fraction of the sum of covalent radii."""
    nearest: Float[ndarray, " atoms"]
    """Distance of each atom to its nearest neighbor over the sum of the covalent radii;
    infinite if there is none."""
    bonds: Int[ndarray, " atoms"]
    """Number of neighbors within `MAX_BOND_RATIO` times the sum of covalent radii."""
    unexplained_zeros: int
    """Number of atoms with a force of exactly zero that no symmetry requires."""

    @property
    def free(self) -> bool:
        """Whether no atom has a neighbor (the energy is a sum of isolated atoms)."""
        return bool(np.isinf(self.nearest).all())

    @property
    def source(self) -> str:
        """File and frame."""
        return self.structure.source

    @property
    def num_atoms(self) -> int:
        """Number of atoms."""
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
    """Summarize a structure.

    Args:
        structure: Structure with labels.
        file: Index of its file.

    Returns:
        The summary.
    """
    atoms, labels = structure.atoms, structure.labels
    graph = build_graph(atoms, CUTOFF)
    vectors = edge_vectors(graph).numpy()
    distance = np.linalg.norm(vectors, axis=1)
    ends = graph.atomic_numbers.numpy()[graph.edge_index.numpy()]
    radii = covalent_radii[ends].sum(axis=0)
    nearest = np.full(len(atoms), math.inf)
    np.minimum.at(nearest, graph.edge_index.numpy()[1], distance / radii)
    bonded = graph.edge_index.numpy()[1][distance < MAX_BOND_RATIO * radii]
    around, edges, radius = _edges_for_fingerprint(structure, graph, vectors)
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


def _edges_for_fingerprint(
    structure: Structure, graph: AtomicGraph, vectors: ndarray
) -> tuple[ndarray, ndarray, float]:
    """Edge vectors, edges and cutoff radius used to fingerprint a structure.

    All pairs of a molecule, since fragments may be farther apart than `CUTOFF`.
    """
    atoms = structure.atoms
    if atoms.pbc.any() or len(atoms) > MAX_MOLECULE_ATOMS:
        return vectors, graph.edge_index.numpy(), CUTOFF
    edges = np.stack(np.nonzero(~np.eye(len(atoms), dtype=bool)))
    pairs = atoms.positions[edges[0]] - atoms.positions[edges[1]]
    return pairs, edges, MOLECULE_CUTOFF


def _unexplained_zeros(
    forces: ndarray, graph: AtomicGraph, vectors: ndarray, distance: ndarray
) -> int:
    """Number of atoms with a force of exactly zero in an asymmetric environment.

    The sum of weighted unit vectors to the neighbors vanishes by symmetry where the
    force does. Elements are ignored, which can only reduce the number of atoms.
    """
    zero = (forces == 0).all(axis=1)
    if not zero.any() or len(distance) == 0:
        return 0
    weight = np.exp(-distance) * (1 - (distance / CUTOFF) ** 2) ** 2
    pull = np.zeros_like(forces)
    np.add.at(pull, graph.edge_index[1].numpy(), vectors * (weight / distance)[:, None])
    return int((zero & (np.linalg.norm(pull, axis=1) > MIN_ASYMMETRY)).sum())
