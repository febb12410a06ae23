"""What a relaxation moves: atoms, or atoms and cell, with their constraints."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError

from equipot.data.unlabeled import without_labels
from equipot.neighbors.cell import complete_rows
from equipot.workflows.cell_filter import CellFilter
from equipot.workflows.fixed_symmetry import fix_symmetry, refuse_broken_symmetry
from equipot.workflows.strain_mask import (
    StrainMask,
    allowed_strains,
    component_mask,
)

MAX_STEP_A: Final = 0.2
"""Largest displacement of an atom in one step in Å, as in ASE."""

MAX_STRAIN_STEP: Final = 0.1
"""Largest strain of the cell in one step."""


def check_request(
    atoms: Atoms, *, cell: bool, strains: Sequence[str], pressure: float
) -> None:
    """Check that a relaxation fits a structure; arguments are those of `relax`.

    Raises:
        ValueError: If strains or a pressure are given without `cell`, or a pressure
            without three periodic directions, or it is not finite.
    """
    if not cell and strains:
        raise ValueError(
            f"the strains {', '.join(strains)} need a relaxation of the cell: add "
            "cell=True (--cell)"
        )
    if not cell and pressure != 0:
        raise ValueError(
            f"a pressure of {pressure:g} GPa needs a relaxation of the cell: add "
            "cell=True (--cell)"
        )
    if pressure != 0 and not atoms.pbc.all():
        raise ValueError(
            "a pressure needs a volume: expected three periodic directions, got "
            f"pbc={atoms.pbc.tolist()}"
        )
    if not np.isfinite(pressure):
        raise ValueError(f"expected a finite pressure in GPa, got {pressure}")


def as_start(atoms: Atoms) -> tuple[Atoms, list[str]]:
    """Copy without data that is valid for the initial structure only, and notes."""
    moving, notes = without_labels(atoms), []
    if moving.has("momenta"):
        if np.any(moving.get_momenta()):
            notes.append("momenta are dropped")
        moving.set_array("momenta", None)
    moving.calc = atoms.calc
    return moving, notes


def target_of(
    moving: Atoms,
    *,
    cell: bool,
    strains: Sequence[str],
    pressure: float,
    tolerance: float | None,
) -> tuple[Any, list[str]]:
    """Object to optimize: the atoms, or a filter for atoms and cell.

    Args:
        moving: Structure, to which the constraints are added; with `tolerance`, it is
            symmetrized.
        cell: Whether the cell relaxes too.
        strains: Allowed strains of the cell; all by default.
        pressure: External pressure in GPa.
        tolerance: Tolerance in Å of the symmetry to conserve; None not to conserve it.

    Returns:
        The target, and notes on changes of the structure.

    Raises:
        ValueError: If the strains are not possible, or break the symmetry.
    """
    projector = allowed_strains(moving, strains) if cell else None
    notes = []
    constraints = list(moving.constraints)
    if tolerance is not None:
        kept = fix_symmetry(moving, tolerance)
        if projector is not None:
            refuse_broken_symmetry(moving, kept.constraint.rotations, projector)
        constraints.append(kept.constraint)
        notes.append(
            f"space group {kept.name} is conserved ({kept.operations} operations); the "
            f"symmetrization moved atoms by up to {kept.moved:.1e} Å"
        )
    if projector is None:
        moving.set_constraint(constraints)
        return moving, notes
    moving.set_constraint([*constraints, StrainMask(projector, pressure)])
    # Cell vectors along free directions are ignored and may be zero.
    moving.set_cell(complete_rows(moving.cell.tolist(), moving.pbc.tolist()))
    target = CellFilter(
        moving,
        mask=component_mask(projector),
        scalar_pressure=pressure * units.GPa,
    )
    return target, notes


def longest_step(atoms: Atoms, *, cell: bool) -> float:
    """Largest displacement in one step in Å; strains count times the atoms.

    Args:
        atoms: Structure.
        cell: Whether the cell relaxes too.
    """
    return min(MAX_STEP_A, MAX_STRAIN_STEP * len(atoms)) if cell else MAX_STEP_A


def largest_force(target: Any) -> float:
    """Largest force in eV/Å, including that on the cell.

    Args:
        target: Result of `target_of`.

    Raises:
        ValueError: If a filter needs a stress and the calculator has none.
    """
    try:
        forces = np.asarray(target.get_forces()).reshape(-1, 3)
    except PropertyNotImplementedError as error:
        raise ValueError(
            f"the relaxation of the cell needs a stress, which is missing: {error}"
        ) from error
    return float(np.linalg.norm(forces, axis=1).max())


def net_force(atoms: Atoms) -> float:
    """Mean force per atom in eV/Å, without effects of constraints."""
    total = atoms.get_forces(apply_constraint=False).sum(axis=0)
    return float(np.linalg.norm(total) / len(atoms))


def as_given(moving: Atoms, start: Atoms) -> Atoms:
    """Copy with the constraints and the free cell vectors of the initial structure."""
    result = moving.copy()
    result.calc = None
    result.set_constraint([c.copy() for c in start.constraints])
    cell = result.cell.array.copy()
    cell[~start.pbc] = start.cell.array[~start.pbc]
    result.set_cell(cell)
    return result
