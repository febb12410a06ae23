"""Checks that a structure is a crystal."""

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from equipot.neighbors import build_graph
from equipot.neighbors.dimensionality import dimensionality


def check_crystal(
    atoms: Atoms, what: str, *, cutoff: float | None = None, needs_volume: bool = False
) -> None:
    """Raise if a property of crystals is not defined for a structure.

    Args:
        atoms: Structure.
        what: Name of the property in the plural, for messages.
        cutoff: Distance in Å within which two atoms are neighbors; by default, atoms
            are assumed to be connected along all periodic directions.
        needs_volume: Whether the structure must be connected in three directions, which
            a molecule, a chain or a layer with vacuum is not.

    Raises:
        ValueError: If a direction is not periodic or has no cell vector, atoms are
            fixed, or neighbors do not connect the structure across the cell.
    """
    if not atoms.pbc.all():
        raise ValueError(_not_periodic(atoms, what, needs_volume))
    if np.linalg.matrix_rank(atoms.cell.array) < 3:
        raise ValueError(
            f"{what} need a cell of nonzero volume, got the cell vectors "
            f"{atoms.cell.array.tolist()}"
        )
    if atoms.constraints:
        raise ValueError(
            f"{what} are not defined for this structure, which has fixed atoms: remove "
            "the constraint (the column move_mask of an extended XYZ file, or "
            "atoms.set_constraint())"
        )
    if cutoff is not None:
        _check_connections(atoms, what, cutoff, needs_volume)


def connections(atoms: Atoms, cutoff: float) -> tuple[int, int]:
    """Dimension and number of the connected parts of a structure.

    Args:
        atoms: Structure.
        cutoff: Distance in Å within which two atoms are neighbors.

    Returns:
        Largest number of directions in which a part is connected to its own periodic
        images, from 0 (molecule) to 3 (crystal); and the number of connected parts.
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
            f"{what} are defined for crystals, but no neighbors within {cutoff:g} Å "
            "connect these atoms with the next cell: this is a molecule in a box; use "
            "`equipot vibrations`"
        )
    if not needs_volume:
        return
    if parts > 1:
        raise ValueError(
            f"{what} need one connected crystal, but the structure has {parts} parts "
            f"that are more than {cutoff:g} Å apart and slide freely"
        )
    if dimension < 3:
        kind = {1: "a chain", 2: "a layer"}[dimension]
        raise ValueError(
            f"{what} need a crystal that neighbors within {cutoff:g} Å connect in "
            f"three directions; this is {kind} with vacuum, where a strain across the "
            "vacuum does not change the energy"
        )


def _not_periodic(atoms: Atoms, what: str, needs_volume: bool) -> str:
    found = f"{what} are defined for crystals: expected three periodic directions, got "
    found += f"pbc={atoms.pbc.tolist()}; "
    if not atoms.pbc.any():
        return found + "for a molecule use vibrations (`equipot vibrations`)"
    if needs_volume:
        return found + "they are not defined for a layer or a chain"
    return found + (
        "give a layer or a chain three, with vacuum wider than the cutoff between its "
        "images"
    )
