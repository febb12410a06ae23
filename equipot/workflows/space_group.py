"""Space group of a crystal by spglib."""

from typing import Any

from ase import Atoms
from ase.spacegroup.symmetrize import check_symmetry
from ase.utils import OldSpglibError


def find_space_group(atoms: Atoms, tolerance: float) -> Any | None:
    """Symmetry operations, standard axes and name of the space group.

    Args:
        atoms: Crystal.
        tolerance: Tolerance of the symmetry search in Å.

    Returns:
        Result of ``spglib.get_symmetry_dataset``; None if no symmetry is found.

    Raises:
        ImportError: If spglib is not installed.
    """
    failures = symmetry_failures()
    try:
        return check_symmetry(atoms, symprec=tolerance)
    except failures:
        return None


def symmetry_failures() -> tuple[type[Exception], ...]:
    """Exceptions that spglib raises if no symmetry is found.

    Raises:
        ImportError: If spglib is not installed.
    """
    try:
        import spglib  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError(
            "symmetry needs spglib, which is not installed: pip install spglib"
        ) from error
    # spglib 2.7 and later have an exception class for failures.
    return (OldSpglibError, getattr(spglib, "SpglibError", OldSpglibError))
