"""Non-interacting parts of a structure, unwrapped across periodic boundaries."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from jaxtyping import Float, Int

from equipot.neighbors import connected_parts


@dataclass(frozen=True)
class Body:
    """Connected part of a structure.

    Attributes:
        indices: Indices of its atoms in the structure, in ascending order.
        positions: Unwrapped positions in Å.
        repeats: Orthonormal rows that span the directions in which it is connected to
            its own periodic images: none for a molecule, one for a wire, two for a
            slab.
    """

    indices: Int[np.ndarray, " body"]
    positions: Float[np.ndarray, "body 3"]
    repeats: Float[np.ndarray, "directions 3"]


def bodies(atoms: Atoms, reach: float) -> tuple[Body, ...]:
    """Connected parts of a structure.

    Args:
        atoms: Structure; molecules may be wrapped across boundaries.
        reach: Distance in Å within which two atoms are connected.

    Returns:
        One body for each connected part, in the order of their first atoms.
    """
    i, j, shifts = neighbor_list("ijS", atoms, float(reach))
    labels, offsets = connected_parts(np.stack([j, i]), shifts, len(atoms))
    positions = atoms.positions + offsets @ atoms.cell.array
    # A closed walk that ends in another image gives a direction of repetition.
    closed = (offsets[i] + shifts - offsets[j]) @ atoms.cell.array
    parts = []
    for label in range(labels.max(initial=-1) + 1):
        inside = np.flatnonzero(labels == label)
        parts.append(Body(inside, positions[inside], _span(closed[labels[i] == label])))
    return tuple(parts)


def whole(atoms: Atoms) -> Body:
    """The whole structure as one body, periodic along all its periodic directions."""
    return Body(
        np.arange(len(atoms)), atoms.positions.copy(), _span(atoms.cell[atoms.pbc])
    )


def _span(vectors: Float[np.ndarray, "vectors 3"]) -> Float[np.ndarray, "directions 3"]:
    """Orthonormal rows that span given vectors."""
    if not len(vectors):
        return np.zeros((0, 3))
    _, sizes, rows = np.linalg.svd(np.unique(vectors, axis=0), full_matrices=False)
    return rows[sizes > 1e-8 * max(float(sizes.max()), 1.0)]
