"""Structures that make sense: elements, coordinates, cell, masses."""

import numpy as np
from ase import Atoms

from equipot.data.reading.errors import DataError
from equipot.neighbors.interface import LARGEST_COORDINATE

SHORTEST_PERIOD = 0.3
"""Length in Å of a lattice vector below which atoms would be in their images."""
SMALLEST_VOLUME = 0.05
"""Volume in Å^3 of an atom, a tenth of what the densest hydrogen has."""


def check_geometry(atoms: Atoms, source: str) -> None:
    """Refuse atoms that no calculation could start from.

    Args:
        atoms: Structure as a file holds it.
        source: File and frame for messages.

    Raises:
        DataError: If there are no atoms, an element does not exist, a coordinate,
            momentum or mass is not a finite number, a mass is not positive, the
            lattice vectors of periodic directions depend on each other, or the cell
            is too small for any atoms.
    """
    if len(atoms) == 0:
        raise DataError(f"{source}: has no atoms")
    _check_positions(atoms, source)
    if atoms.numbers.min() < 1 or atoms.numbers.max() > 118:
        bad = int(np.flatnonzero((atoms.numbers < 1) | (atoms.numbers > 118))[0])
        raise DataError(
            f"{source}: atom {bad} has the atomic number {atoms.numbers[bad]}, "
            "expected 1 to 118"
        )
    for name in ("momenta", "masses"):
        _check_array(atoms, name, source)
    _check_cell(atoms, source)


def _check_positions(atoms: Atoms, source: str) -> None:
    if atoms.positions.dtype.kind != "f":
        raise DataError(f"{source}: positions must be real numbers")
    # NaN compares false
    fine = (np.abs(atoms.positions) <= LARGEST_COORDINATE).all(axis=1)
    if not fine.all():
        bad = int(np.flatnonzero(~fine)[0])
        raise DataError(
            f"{source}: the position of atom {bad} is not finite, or more than "
            f"{LARGEST_COORDINATE:.0e} Å from the origin: {atoms.positions[bad]}"
        )


def _check_array(atoms: Atoms, name: str, source: str) -> None:
    """Check masses or momenta of a file that has them."""
    values = atoms.arrays.get(name)
    if values is None:
        return
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise DataError(f"{source}: {name} are not finite numbers")
    if name == "masses" and not (values > 0).all():
        bad = int(np.flatnonzero(~(values > 0))[0])
        raise DataError(
            f"{source}: the mass of atom {bad} is {values[bad]}, expected a positive "
            "number in u"
        )


def _check_cell(atoms: Atoms, source: str) -> None:
    cell = atoms.cell.array
    if cell.dtype.kind != "f" or not np.isfinite(cell).all():
        raise DataError(f"{source}: the cell is not finite")
    if np.abs(cell).max() > LARGEST_COORDINATE:
        raise DataError(f"{source}: the cell is larger than {LARGEST_COORDINATE:.0e} Å")
    periodic = cell[atoms.pbc]
    if len(periodic) and np.linalg.matrix_rank(periodic) < len(periodic):
        raise DataError(
            f"{source}: repeats along {len(periodic)} lattice vectors that are zero or "
            f"depend on each other: {periodic.round(6).tolist()}; correct the cell or "
            "pbc"
        )
    shortest = np.linalg.norm(periodic, axis=1).min(initial=np.inf)
    volume = abs(np.linalg.det(cell)) if atoms.pbc.all() else np.inf
    if shortest < SHORTEST_PERIOD or volume < SMALLEST_VOLUME * len(atoms):
        raise DataError(
            f"{source}: {len(atoms)} atoms repeat within {volume:.3g} Å^3, after "
            f"{shortest:.3g} Å: is the cell in Å?"
        )
