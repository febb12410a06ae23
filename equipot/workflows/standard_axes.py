"""Standard axes of a crystal, in which elastic constants are tabulated."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equipot.workflows.space_group import find_space_group

SYMMETRY_TOLERANCE_A: float = 1e-3
"""Tolerance of the symmetry search in Å."""


@dataclass(frozen=True)
class StandardAxes:
    """Orientation of the conventional cell.

    Attributes:
        rotation: Rotation from Cartesian components in the structure to components
            along the standard axes.
        space_group: Number and symbol of the space group.
    """

    rotation: Float[np.ndarray, "3 3"]
    space_group: str

    @property
    def aligned(self) -> bool:
        """Whether they are the Cartesian axes of the structure, up to sign."""
        return bool(
            np.abs(np.abs(self.rotation) - np.eye(3)).max() < SYMMETRY_TOLERANCE_A
        )


def standard_axes(atoms: Atoms) -> StandardAxes | None:
    """Standard axes of the conventional cell chosen by spglib.

    The first axis is along a, the second in the plane of a and b; the unique axis of
    a monoclinic crystal is the second.

    Args:
        atoms: Crystal, periodic in three directions.

    Returns:
        The axes; None if no symmetry is found or spglib is not installed.

    Source:
        A. Togo, K. Shinohara and I. Tanaka, Sci. Technol. Adv. Mater. Meth. 4, 2384822
        (2024).
    """
    try:
        found = find_space_group(atoms, SYMMETRY_TOLERANCE_A)
    except ImportError:
        return None
    if found is None:
        return None
    return StandardAxes(
        rotation=np.array(found.std_rotation_matrix),
        space_group=f"{found.number} ({found.international})",
    )
