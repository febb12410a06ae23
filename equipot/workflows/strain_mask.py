"""Which strains of a cell a relaxation may make, as a constraint of ASE."""

from collections.abc import Sequence
from typing import Any, Final, final

import numpy as np
from ase import Atoms, units
from ase.constraints import FixConstraint
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from jaxtyping import Float
from scipy.linalg import null_space, orth

COMPONENTS: Final = ("xx", "yy", "zz", "yz", "xz", "xy")
"""Names of the components of a strain, in the order of Voigt."""

WHOLE: Final = ("hydrostatic", "shape")
"""Strains that are no component: the same in all directions, and without a change of
volume (of area in a slab)."""

ON_AXES: Final = 1e-9
"""Largest element of a projector that counts as zero."""


def allowed_strains(
    atoms: Atoms, names: Sequence[str] = ()
) -> Float[np.ndarray, "9 9"]:
    """Projector on the strains that a relaxation may make, as flat 3x3 matrices.

    Only strains within the span of the periodic directions are allowed, so that lengths
    along the other ones stay.

    Args:
        atoms: Structure with at least one periodic direction.
        names: Some of `COMPONENTS`, in Cartesian axes, or one of `WHOLE`; all
            components if left out.

    Raises:
        ValueError: If a name is unknown, no direction is periodic, a periodic
            direction has no cell vector, or a component does not lie within the
            periodic directions.
    """
    plane = _periodic_plane(atoms)
    inside = orth(
        np.stack([(plane @ e @ plane).ravel() for e in _unit_strains()], axis=1)
    )
    if not names:
        return inside @ inside.T
    if list(names) == ["hydrostatic"]:
        direction = plane.ravel() / np.linalg.norm(plane)
        return np.outer(direction, direction)
    if list(names) == ["shape"]:
        direction = plane.ravel() / np.linalg.norm(plane)
        return inside @ inside.T - np.outer(direction, direction)
    if unknown := [name for name in names if name not in COMPONENTS]:
        raise ValueError(
            f"unknown strain {', '.join(unknown)}: expected some of "
            f"{', '.join(COMPONENTS)}, or one of {', '.join(WHOLE)} alone"
        )
    chosen = sorted({COMPONENTS.index(name) for name in names})
    strains = _unit_strains()
    asked = np.stack([strains[n].ravel() for n in chosen], axis=1)
    common = _intersection(asked, inside)
    if common.shape[1] < len(chosen):
        raise ValueError(
            f"the strains {', '.join(COMPONENTS[n] for n in chosen)} are not all "
            f"within the periodic directions, pbc={atoms.pbc.tolist()}: leave out "
            "those along a direction that is not periodic"
        )
    return common @ common.T


def component_mask(
    projector: Float[np.ndarray, "9 9"],
) -> Float[np.ndarray, " 6"] | None:
    """Components of Voigt that a projector lets through, if it is as simple as that."""
    off_diagonal = projector - _symmetric_diagonal(projector)
    if np.abs(off_diagonal).max() > ON_AXES:
        return None
    kept = np.array([e.ravel() @ projector @ e.ravel() for e in _unit_strains()])
    return (kept > 0.5).astype(float)


@final
class StrainMask(FixConstraint):
    """Constraint of ASE that takes forbidden strains out of the stress.

    Args:
        projector: On the allowed strains.
        pressure: In GPa; what is taken out is that of the stress that is left when it
            has been balanced.
    """

    def __init__(self, projector: Float[np.ndarray, "9 9"], pressure: float) -> None:
        self.projector = projector
        self.pressure = pressure

    def adjust_stress(self, atoms: Atoms, stress: Float[np.ndarray, " 6"]) -> None:
        """Project the stress; ASE calls this."""
        del atoms
        outside = self.pressure * units.GPa * np.eye(3)
        full = voigt_6_to_full_3x3_stress(stress) + outside
        kept = (self.projector @ full.ravel()).reshape(3, 3)
        stress[:] = full_3x3_to_voigt_6_stress(kept - outside)

    def adjust_positions(self, atoms: Atoms, new: Any) -> None:
        """Leave positions alone."""

    def adjust_forces(self, atoms: Atoms, forces: Any) -> None:
        """Leave forces alone."""

    def get_removed_dof(self, atoms: Atoms) -> int:
        """No atom is held."""
        del atoms
        return 0

    def todict(self) -> dict[str, Any]:
        """Name and arguments, as ASE keeps constraints."""
        kwargs = {"projector": self.projector, "pressure": self.pressure}
        return {"name": "StrainMask", "kwargs": kwargs}


def _periodic_plane(atoms: Atoms) -> Float[np.ndarray, "3 3"]:
    """Projector on the span of the periodic cell vectors."""
    if not atoms.pbc.any():
        raise ValueError(
            "a cell can relax along periodic directions only, got "
            f"pbc={atoms.pbc.tolist()}: leave out the relaxation of the cell"
        )
    vectors = atoms.cell.array[atoms.pbc]
    if np.linalg.matrix_rank(vectors) < len(vectors):
        raise ValueError(
            "expected independent cell vectors along all periodic directions, got "
            f"pbc={atoms.pbc.tolist()} and the cell {atoms.cell.array.tolist()}"
        )
    basis = np.linalg.qr(vectors.T)[0]
    return basis @ basis.T


def _unit_strains() -> list[Float[np.ndarray, "3 3"]]:
    """Orthonormal symmetric matrices in the order of Voigt."""
    strains = []
    for row, column in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        strain = np.zeros((3, 3))
        strain[row, column] = strain[column, row] = 1.0
        strains.append(strain / np.linalg.norm(strain))
    return strains


def _symmetric_diagonal(
    projector: Float[np.ndarray, "9 9"],
) -> Float[np.ndarray, "9 9"]:
    """The part of a projector that maps each component to itself."""
    flat = [e.ravel() for e in _unit_strains()]
    return sum(
        (e @ projector @ e * np.outer(e, e) for e in flat), start=np.zeros((9, 9))
    )


def _intersection(
    a: Float[np.ndarray, "9 m"], b: Float[np.ndarray, "9 n"]
) -> Float[np.ndarray, "9 common"]:
    """Orthonormal basis of what two spaces, given by orthonormal columns, share."""
    outside = [np.eye(9) - space @ space.T for space in (a, b)]
    return null_space(np.concatenate(outside), rcond=1e-8)
