"""Check elements, coordinates, cell and masses of structures."""

import numpy as np
from ase import Atoms

from equipot.data.reading.errors import DataError
from equipot.neighbors.interface import MAX_COORDINATE

MIN_PERIOD = 0.3
"""Shortest period in Å; below it atoms would overlap with their images."""
MIN_VOLUME_PER_ATOM = 0.05
"""Smallest volume in Å^3 per atom: a tenth of that of the densest hydrogen."""


def check_geometry(atoms: Atoms, source: str) -> None:
    """Reject unphysical structures.

    Args:
        atoms: Structure from a file.
        source: File and frame, for messages.

    Raises:
        DataError: If there are no atoms, an atomic number is invalid, a coordinate,
            momentum or mass is not finite, a mass is not positive, lattice vectors of
            periodic directions are linearly dependent, or the cell is too small.
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
    fine = (np.abs(atoms.positions) <= MAX_COORDINATE).all(axis=1)
    if not fine.all():
        bad = int(np.flatnonzero(~fine)[0])
        raise DataError(
            f"{source}: the position of atom {bad} is not finite, or more than "
            f"{MAX_COORDINATE:.0e} Å from the origin: {atoms.positions[bad]}"
        )


def _check_array(atoms: Atoms, name: str, source: str) -> None:
    """Check masses or momenta, if the file has them."""
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
    if np.abs(cell).max() > MAX_COORDINATE:
        raise DataError(f"{source}: the cell is larger than {MAX_COORDINATE:.0e} Å")
    periodic = cell[atoms.pbc]
    if len(periodic) and np.linalg.matrix_rank(periodic) < len(periodic):
        raise DataError(
            f"{source}: {len(periodic)} periodic lattice vectors are zero "
            f"or linearly dependent: {periodic.round(6).tolist()}; correct the cell or "
            "pbc"
        )
    shortest = np.linalg.norm(periodic, axis=1).min(initial=np.inf)
    volume = abs(np.linalg.det(cell)) if atoms.pbc.all() else np.inf
    if shortest < MIN_PERIOD or volume < MIN_VOLUME_PER_ATOM * len(atoms):
        raise DataError(
            f"{source}: {len(atoms)} atoms in a periodic volume of {volume:.3g} Å^3, "
            f"with the shortest period {shortest:.3g} Å: is the cell in Å?"
        )
