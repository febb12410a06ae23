"""Axes in which elastic constants of a crystal look as they are tabulated."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equipot.workflows.space_group import find_space_group

SYMMETRY: float = 1e-3
"""Distance in Å within which symmetry is looked for."""


@dataclass(frozen=True)
class StandardAxes:
    """Orientation of the conventional cell.

    Attributes:
        rotation: Takes Cartesian vectors of the structure to components along standard
            axes.
        space_group: Number and symbol.
    """

    rotation: Float[np.ndarray, "3 3"]
    space_group: str

    @property
    def aligned(self) -> bool:
        """Whether they are the Cartesian axes of the structure, up to signs."""
        return bool(np.abs(np.abs(self.rotation) - np.eye(3)).max() < SYMMETRY)


def standard_axes(atoms: Atoms) -> StandardAxes | None:
    """Axes of the conventional cell, by spglib's choice of it.

    The first axis lies along a, the second in the plane of a and b; the unique axis of
    a monoclinic crystal is the second.

    Args:
        atoms: Crystal, periodic in three directions.

    Returns:
        None where no symmetry is found, or spglib is not installed.

    Source:
        A. Togo, K. Shinohara and I. Tanaka, Sci. Technol. Adv. Mater. Meth. 4, 2384822
        (2024).
    """
    try:
        found = find_space_group(atoms, SYMMETRY)
    except ImportError:
        return None
    if found is None:
        return None
    return StandardAxes(
        rotation=np.array(found.std_rotation_matrix),
        space_group=f"{found.number} ({found.international})",
    )
