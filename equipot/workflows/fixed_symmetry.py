"""The space group of a crystal, kept while it relaxes, by ASE's `FixSymmetry`."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixSymmetry
from ase.geometry import find_mic
from jaxtyping import Float, Int

from equipot.workflows.space_group import find_space_group, symmetry_failures

TOLERANCE: Final = 0.01
"""Distance in Å up to which atoms and their images under an operation are the same."""

COMMUTES: Final = 1e-6
"""Largest element of a commutator of projectors that counts as zero."""


@dataclass(frozen=True)
class FixedSymmetry:
    """Operations that a relaxation keeps.

    Attributes:
        constraint: `ase.constraints.FixSymmetry`.
        name: Number and symbol of the space group.
        operations: How many there are in the given cell.
        moved: How far an atom moved, in Å, to where the operations hold exactly.
    """

    constraint: Any
    name: str
    operations: int
    moved: float


def fix_symmetry(atoms: Atoms, tolerance: float = TOLERANCE) -> FixedSymmetry:
    """Find the symmetry of a crystal, and move it to where that holds exactly.

    Args:
        atoms: Crystal; atoms and cell are moved by up to about `tolerance`. Its
            constraints are left alone.
        tolerance: In Å.

    Raises:
        ImportError: If spglib is not installed.
        ValueError: If a direction is not periodic, no symmetry is found, fixed atoms
            are not mapped to fixed atoms, or more than `tolerance` explains would move.
    """
    if not atoms.pbc.all():
        raise ValueError(
            "symmetry can be fixed in crystals: expected three periodic directions, "
            f"got pbc={atoms.pbc.tolist()}"
        )
    refined = atoms.copy()
    refined.set_constraint()
    refined.calc = None
    found = find_space_group(refined, tolerance)
    if found is None:
        raise ValueError(
            f"no symmetry found with a tolerance of {tolerance:g} Å: atoms may be "
            "closer than that; give another tolerance"
        )
    try:
        constraint = FixSymmetry(refined, symprec=tolerance)
    except symmetry_failures() as error:
        raise ValueError(
            f"the symmetry {found.international} cannot be made exact ({error}): give "
            f"another tolerance than {tolerance:g} Å"
        ) from error
    change = refined.positions - atoms.positions
    moved = float(
        np.linalg.norm(find_mic(change, atoms.cell, pbc=True)[0], axis=1).max()
    )
    stretched = float(np.abs(refined.cell.array - atoms.cell.array).max())
    allowed = 10 * tolerance * max(1.0, float(np.cbrt(len(atoms))))
    if max(moved, stretched) > allowed:
        raise ValueError(
            f"making the symmetry {found.international} exact would move atoms by "
            f"{moved:.2g} Å and the cell by {stretched:.2g} Å: give a smaller "
            f"tolerance than {tolerance:g} Å"
        )
    _refuse_half_fixed_orbits(atoms, constraint)
    atoms.set_cell(refined.cell)
    atoms.set_positions(refined.positions, apply_constraint=False)
    return FixedSymmetry(
        constraint=constraint,
        name=f"{found.number} ({found.international})",
        operations=len(constraint.rotations),
        moved=moved,
    )


def refuse_broken_symmetry(
    atoms: Atoms,
    rotations: Int[np.ndarray, "operations 3 3"],
    projector: Float[np.ndarray, "9 9"],
) -> None:
    """Raise if the strains that are allowed break a symmetry that is kept.

    Args:
        atoms: Crystal.
        rotations: Of fractional coordinates.
        projector: On the allowed strains.

    Raises:
        ValueError: If a rotation takes an allowed strain out of the allowed ones.
    """
    cell = atoms.cell.array.T
    symmetric = np.zeros((9, 9))
    for rotation in rotations:
        turn = cell @ rotation @ np.linalg.inv(cell)
        symmetric += np.kron(turn, turn) / len(rotations)
    commutator = symmetric @ projector - projector @ symmetric
    if np.abs(commutator).max() > COMMUTES:
        raise ValueError(
            "the strains that may change break the symmetry that is fixed: allow all "
            "that the symmetry connects, such as xx, yy and zz of a cubic crystal, or "
            "do not fix the symmetry"
        )


def _refuse_half_fixed_orbits(atoms: Atoms, constraint: Any) -> None:
    fixed = np.zeros(len(atoms), dtype=bool)
    for other in atoms.constraints:
        if isinstance(other, FixAtoms):
            fixed[other.get_indices()] = True
    for images in constraint.symm_map:
        if (fixed[np.asarray(images)] != fixed).any():
            raise ValueError(
                "fixed atoms and fixed symmetry contradict each other: an operation "
                "maps a fixed atom to one that may move; fix all equivalent atoms or "
                "none"
            )
