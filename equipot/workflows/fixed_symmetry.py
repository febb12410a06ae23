"""Relaxation under the space group of a crystal, by ASE's `FixSymmetry`."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixSymmetry
from ase.geometry import find_mic
from jaxtyping import Float, Int

from equipot.workflows.space_group import find_space_group, symmetry_failures

SYMMETRY_TOLERANCE_A: Final = 0.01
"""Largest distance in Å between an atom and the image of an equivalent atom."""

MAX_COMMUTATOR: Final = 1e-6
"""Largest element of the commutator of two projectors that counts as zero."""


@dataclass(frozen=True)
class FixedSymmetry:
    """Symmetry operations that a relaxation conserves.

    Attributes:
        constraint: `ase.constraints.FixSymmetry`.
        name: Number and symbol of the space group.
        operations: Number of operations in the given cell.
        moved: Largest displacement in Å of an atom by the symmetrization.
    """

    constraint: Any
    name: str
    operations: int
    moved: float


def fix_symmetry(
    atoms: Atoms, tolerance: float = SYMMETRY_TOLERANCE_A
) -> FixedSymmetry:
    """Find the space group of a crystal and symmetrize it in place.

    Args:
        atoms: Crystal; atoms and cell change by up to about `tolerance`. Its
            constraints are not changed.
        tolerance: Tolerance of the symmetry search in Å.

    Raises:
        ImportError: If spglib is not installed.
        ValueError: If a direction is not periodic, no symmetry is found, fixed atoms
            are not mapped to fixed atoms, or the displacements exceed `tolerance`.
    """
    if not atoms.pbc.all():
        raise ValueError(
            "symmetry can be fixed in crystals only: expected three periodic "
            f"directions, got pbc={atoms.pbc.tolist()}"
        )
    refined = atoms.copy()
    refined.set_constraint()
    refined.calc = None
    found = find_space_group(refined, tolerance)
    if found is None:
        raise ValueError(
            f"no symmetry found with a tolerance of {tolerance:g} Å: two atoms may be "
            "closer than that; use another tolerance"
        )
    try:
        constraint = FixSymmetry(refined, symprec=tolerance)
    except symmetry_failures() as error:
        raise ValueError(
            f"the structure cannot be symmetrized to {found.international} ({error}): "
            f"use another tolerance than {tolerance:g} Å"
        ) from error
    change = refined.positions - atoms.positions
    moved = float(
        np.linalg.norm(find_mic(change, atoms.cell, pbc=True)[0], axis=1).max()
    )
    stretched = float(np.abs(refined.cell.array - atoms.cell.array).max())
    allowed = 10 * tolerance * max(1.0, float(np.cbrt(len(atoms))))
    if max(moved, stretched) > allowed:
        raise ValueError(
            f"symmetrizing the structure to {found.international} would move atoms by "
            f"{moved:.2g} Å and the cell by {stretched:.2g} Å: use a smaller "
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
    """Raise if allowed strains break the fixed symmetry.

    Args:
        atoms: Crystal.
        rotations: Rotations in fractional coordinates.
        projector: Projector on the allowed strains.

    Raises:
        ValueError: If the space of allowed strains is not invariant under a rotation.
    """
    cell = atoms.cell.array.T
    symmetric = np.zeros((9, 9))
    for rotation in rotations:
        turn = cell @ rotation @ np.linalg.inv(cell)
        symmetric += np.kron(turn, turn) / len(rotations)
    commutator = symmetric @ projector - projector @ symmetric
    if np.abs(commutator).max() > MAX_COMMUTATOR:
        raise ValueError(
            "the allowed strains break the fixed symmetry: allow all strains that the "
            "symmetry relates, such as xx, yy and zz of a cubic crystal, or do not fix "
            "the symmetry"
        )


def _refuse_half_fixed_orbits(atoms: Atoms, constraint: Any) -> None:
    fixed = np.zeros(len(atoms), dtype=bool)
    for other in atoms.constraints:
        if isinstance(other, FixAtoms):
            fixed[other.get_indices()] = True
    for images in constraint.symm_map:
        if (fixed[np.asarray(images)] != fixed).any():
            raise ValueError(
                "fixed atoms and fixed symmetry are inconsistent: a symmetry operation "
                "maps a fixed atom to a free one; fix all equivalent atoms or none"
            )
