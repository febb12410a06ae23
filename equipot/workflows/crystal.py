"""What a structure must be so that it has the properties of a crystal."""

import numpy as np
from ase import Atoms
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from equipot.neighbors import build_graph


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
    if np.linalg.matrix_rank(atoms.cell.array) < 3:  # noqa: PLR2004 - of space
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


def periodicities(atoms: Atoms, cutoff: float) -> tuple[int, ...]:
    """In how many directions each connected part of a structure repeats itself.

    Args:
        atoms: Structure.
        cutoff: In Å; atoms that are closer are neighbors.

    Returns:
        For each part 0 (a molecule), 1 (a chain), 2 (a layer) or 3 (a crystal), in
        ascending order.
    """
    graph = build_graph(atoms, cutoff)
    senders, receivers = graph.edge_index.numpy()
    shifts = graph.edge_shift.numpy()
    count = len(atoms)
    links = coo_array((np.ones(len(senders)), (receivers, senders)), (count, count))
    parts, labels = connected_components(links.tocsr(), directed=False)
    # An image of each atom that a tree of neighbors reaches; what an edge adds beyond
    # the tree is a lattice vector along which the part repeats itself.
    images = _images(links, labels, senders, receivers, shifts)
    loops = images[receivers] + shifts - images[senders]
    ranks = []
    for part in range(parts):
        found = np.unique(loops[labels[receivers] == part], axis=0)
        ranks.append(int(np.linalg.matrix_rank(found)) if len(found) else 0)
    return tuple(sorted(ranks))


def _images(
    links: coo_array,
    labels: Int[np.ndarray, " atoms"],
    senders: Int[np.ndarray, " edges"],
    receivers: Int[np.ndarray, " edges"],
    shifts: Int[np.ndarray, "edges 3"],
) -> Int[np.ndarray, "atoms 3"]:
    """Lattice translation at which a tree of edges meets each atom."""
    count = len(labels)
    keys, first = np.unique(receivers * count + senders, return_index=True)
    images = np.zeros((count, 3), dtype=np.int64)
    graph = links.tocsr()
    for root in np.unique(labels, return_index=True)[1]:
        order, before = breadth_first_order(graph, root)
        for atom in order[1:]:
            edge = first[np.searchsorted(keys, before[atom] * count + atom)]
            images[atom] = images[before[atom]] + shifts[edge]
    return images


def _check_connections(
    atoms: Atoms, what: str, cutoff: float, needs_volume: bool
) -> None:
    ranks = periodicities(atoms, cutoff)
    if max(ranks) == 0:
        raise ValueError(
            f"{what} are those of a crystal, but no neighbors within {cutoff:g} Å "
            "connect these atoms with the next cell: this is a molecule in a box, for "
            "which `equipot vibrations` is made"
        )
    if not needs_volume:
        return
    if len(ranks) > 1:
        raise ValueError(
            f"{what} need one crystal, but these atoms are {len(ranks)} parts without "
            f"neighbors within {cutoff:g} Å of each other, which slide freely"
        )
    if ranks[0] < 3:  # noqa: PLR2004 - of space
        kind = {1: "a chain", 2: "a layer"}[ranks[0]]
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
