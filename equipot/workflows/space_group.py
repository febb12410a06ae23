"""The space group of a crystal, as spglib finds it."""

from typing import Any

from ase import Atoms
from ase.spacegroup.symmetrize import check_symmetry
from ase.utils import OldSpglibError


def find_space_group(atoms: Atoms, tolerance: float) -> Any | None:
    """Operations, standard axes and name, or None if no symmetry is found.

    Args:
        atoms: Crystal.
        tolerance: Distance in Å up to which atoms are the same.

    Returns:
        What ``spglib.get_symmetry_dataset`` gives.

    Raises:
        ImportError: If spglib is not installed.
    """
    failures = symmetry_failures()
    try:
        return check_symmetry(atoms, symprec=tolerance)
    except failures:
        return None


def symmetry_failures() -> tuple[type[Exception], ...]:
    """What is raised where no symmetry is found.

    Raises:
        ImportError: If spglib is not installed.
    """
    try:
        import spglib  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError(
            "symmetry needs spglib, which is not installed: pip install spglib"
        ) from error
    # Since spglib 2.7 a failure has a class of its own.
    return (OldSpglibError, getattr(spglib, "SpglibError", OldSpglibError))
