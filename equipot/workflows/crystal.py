"""What a structure must be so that it has the properties of a crystal."""

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from equipot.neighbors import build_graph
from equipot.neighbors.dimensionality import dimensionality


def check_crystal(
    atoms: Atoms, what: str, *, cutoff: float | None = None, needs_volume: bool = False
) -> None:
    """Raise if a structure cannot have a property of crystals.

    Args:
        atoms: Structure.
        what: The property, for messages.
        cutoff: Distance in Å beyond which two atoms are no neighbors; if left out,
            periodic directions are believed to connect the atoms.
        needs_volume: Whether all strains must cost energy, which they do not where the
            structure is a molecule, a chain or a layer with vacuum.

    Raises:
        ValueError: If a direction is not periodic or has no cell vector, atoms are
            fixed, or interactions do not reach across the cell.
    """
    if not atoms.pbc.all():
        raise ValueError(_not_periodic(atoms, what, needs_volume))
    if np.linalg.matrix_rank(atoms.cell.array) < 3:
        raise ValueError(
            f"{what} need a cell with a volume, got the vectors "
            f"{atoms.cell.array.tolist()}"
        )
    if atoms.constraints:
        raise ValueError(
            f"{what} are those of all atoms, and this structure has fixed atoms: "
            "remove the constraint (the column move_mask of an extended XYZ file, or "
            "atoms.set_constraint())"
        )
    if cutoff is not None:
        _check_connections(atoms, what, cutoff, needs_volume)


def connections(atoms: Atoms, cutoff: float) -> tuple[int, int]:
    """How neighbors connect a structure.

    Args:
        atoms: Structure.
        cutoff: In Å; atoms that are closer are neighbors.

    Returns:
        Directions in which the most extended part repeats itself, from 0 (a molecule)
        to 3 (a crystal); and the number of parts that have no neighbors in each other.
    """
    graph = build_graph(atoms, cutoff)
    index, count = graph.edge_index.numpy(), len(atoms)
    links = coo_array((np.ones(index.shape[1]), tuple(index)), (count, count))
    parts, _ = connected_components(links, directed=False)
    return dimensionality(index, graph.edge_shift.numpy(), count), int(parts)


def _check_connections(
    atoms: Atoms, what: str, cutoff: float, needs_volume: bool
) -> None:
    dimension, parts = connections(atoms, cutoff)
    if dimension == 0:
        raise ValueError(
            f"{what} are those of a crystal, but no neighbors within {cutoff:g} Å "
            "connect these atoms with the next cell: this is a molecule in a box, for "
            "which `equipot vibrations` is made"
        )
    if not needs_volume:
        return
    if parts > 1:
        raise ValueError(
            f"{what} need one crystal, but these atoms are {parts} parts without "
            f"neighbors within {cutoff:g} Å of each other, which slide freely"
        )
    if dimension < 3:
        kind = {1: "a chain", 2: "a layer"}[dimension]
        raise ValueError(
            f"{what} need a crystal whose neighbors within {cutoff:g} Å connect it in "
            f"three directions; this is {kind} with vacuum around it, where a strain "
            "across the vacuum costs nothing"
        )


def _not_periodic(atoms: Atoms, what: str, needs_volume: bool) -> str:
    found = f"{what} are those of a crystal: expected three periodic directions, got "
    found += f"pbc={atoms.pbc.tolist()}; "
    if not atoms.pbc.any():
        return found + "for a molecule use vibrations (`equipot vibrations`)"
    if needs_volume:
        return found + "they are not defined for a layer or a chain"
    return found + (
        "give a layer or a chain three, with vacuum wider than the cutoff between its "
        "images"
    )
