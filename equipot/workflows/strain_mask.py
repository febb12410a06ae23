"""Allowed strains of a cell in a relaxation, as a constraint of ASE."""

from collections.abc import Sequence
from typing import Any, Final, final

import numpy as np
from ase import Atoms, units
from ase.constraints import FixConstraint
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from jaxtyping import Float
from scipy.linalg import null_space, orth

COMPONENTS: Final = ("xx", "yy", "zz", "yz", "xz", "xy")
"""Names of the strain components in Voigt order."""

COLLECTIVE_STRAINS: Final = ("hydrostatic", "shape")
"""Strains of several components: isotropic, and volume-conserving (area-conserving in a
slab)."""

MAX_ZERO_ELEMENT: Final = 1e-9
"""Largest element of a projector that counts as zero."""


def allowed_strains(
    atoms: Atoms, names: Sequence[str] = ()
) -> Float[np.ndarray, "9 9"]:
    """Projector on the allowed strains, as flattened 3x3 matrices.

    Only strains within the span of the periodic directions are allowed, so lengths
    along the other directions are conserved.

    Args:
        atoms: Structure with at least one periodic direction.
        names: Some of `COMPONENTS`, in Cartesian axes, or one of `COLLECTIVE_STRAINS`;
            all components by default.

    Raises:
        ValueError: If a name is unknown, no direction is periodic, a periodic direction
            has no cell vector, or a component is not within the periodic directions.
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
            f"{', '.join(COMPONENTS)}, or one of {', '.join(COLLECTIVE_STRAINS)} alone"
        )
    chosen = sorted({COMPONENTS.index(name) for name in names})
    strains = _unit_strains()
    asked = np.stack([strains[n].ravel() for n in chosen], axis=1)
    common = _intersection(asked, inside)
    if common.shape[1] < len(chosen):
        raise ValueError(
            f"the strains {', '.join(COMPONENTS[n] for n in chosen)} are not all "
            f"within the periodic directions, pbc={atoms.pbc.tolist()}: leave out "
            "those along non-periodic directions"
        )
    return common @ common.T


def component_mask(
    projector: Float[np.ndarray, "9 9"],
) -> Float[np.ndarray, " 6"] | None:
    """Mask of allowed Voigt components; None if the projector is not diagonal."""
    off_diagonal = projector - _symmetric_diagonal(projector)
    if np.abs(off_diagonal).max() > MAX_ZERO_ELEMENT:
        return None
    kept = np.array([e.ravel() @ projector @ e.ravel() for e in _unit_strains()])
    return (kept > 0.5).astype(float)


@final
class StrainMask(FixConstraint):
    """Constraint of ASE that removes forbidden strains from the stress.

    Args:
        projector: Projector on the allowed strains.
        pressure: External pressure in GPa; the projection applies to the stress
            relative to it.
    """

    def __init__(self, projector: Float[np.ndarray, "9 9"], pressure: float) -> None:
        self.projector = projector
        self.pressure = pressure

    def adjust_stress(self, atoms: Atoms, stress: Float[np.ndarray, " 6"]) -> None:
        """Project the stress; called by ASE."""
        del atoms
        outside = self.pressure * units.GPa * np.eye(3)
        full = voigt_6_to_full_3x3_stress(stress) + outside
        kept = (self.projector @ full.ravel()).reshape(3, 3)
        stress[:] = full_3x3_to_voigt_6_stress(kept - outside)

    def adjust_positions(self, atoms: Atoms, new: Any) -> None:
        """No-op: positions are not constrained."""

    def adjust_forces(self, atoms: Atoms, forces: Any) -> None:
        """No-op: forces are not constrained."""

    def get_removed_dof(self, atoms: Atoms) -> int:
        """Zero: no atom is fixed."""
        del atoms
        return 0

    def todict(self) -> dict[str, Any]:
        """Name and arguments, in ASE's format of constraints."""
        kwargs = {"projector": self.projector, "pressure": self.pressure}
        return {"name": "StrainMask", "kwargs": kwargs}


def _periodic_plane(atoms: Atoms) -> Float[np.ndarray, "3 3"]:
    """Projector on the span of the periodic cell vectors."""
    if not atoms.pbc.any():
        raise ValueError(
            "a cell can relax along periodic directions only, got "
            f"pbc={atoms.pbc.tolist()}: do not relax the cell"
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
    """Orthonormal symmetric matrices in Voigt order."""
    strains = []
    for row, column in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        strain = np.zeros((3, 3))
        strain[row, column] = strain[column, row] = 1.0
        strains.append(strain / np.linalg.norm(strain))
    return strains


def _symmetric_diagonal(
    projector: Float[np.ndarray, "9 9"],
) -> Float[np.ndarray, "9 9"]:
    """Diagonal part of a projector in the basis of symmetric unit strains."""
    flat = [e.ravel() for e in _unit_strains()]
    return sum(
        (e @ projector @ e * np.outer(e, e) for e in flat), start=np.zeros((9, 9))
    )


def _intersection(
    a: Float[np.ndarray, "9 m"], b: Float[np.ndarray, "9 n"]
) -> Float[np.ndarray, "9 common"]:
    """Orthonormal basis of the intersection of two spaces with orthonormal columns."""
    outside = [np.eye(9) - space @ space.T for space in (a, b)]
    return null_space(np.concatenate(outside), rcond=1e-8)
