"""Atoms and cell as degrees of freedom of an optimizer, at little cost per step."""

from typing import Any, Final, final

import numpy as np
from ase.filters import FrechetCellFilter
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from jaxtyping import Float
from scipy.linalg import expm, logm

Matrix = Float[np.ndarray, "3 3"]
Rows = Float[np.ndarray, "rows 3"]

MAX_SERIES: Final = 0.5
"""Largest norm of the argument of the series of the logarithm, for changes of lengths
up to a factor of three."""

NEGLIGIBLE_POWER: Final = 1e-18
"""Elements of a power of a matrix at which the series ends."""


@final
class CellFilter(FrechetCellFilter):
    r"""ASE's filter, with the derivatives of the matrix exponential in one call.

    Coordinates are the positions in the undeformed cell and :math:`c U`, with the
    deformation gradient :math:`F = \exp U` and the factor c, by default the number of
    atoms. The force on U is

    .. math:: L(U^T, W F^{-T}), \qquad
              \exp \begin{pmatrix} A & B \\ 0 & A \end{pmatrix} =
              \begin{pmatrix} \exp A & L(A, B) \\ 0 & \exp A \end{pmatrix}

    with the virial W: the adjoint of the derivative :math:`L(U, \cdot)` of the
    exponential is :math:`L(U^T, \cdot)`, where ASE evaluates nine derivatives.

    Source:
        N. J. Higham, *Functions of Matrices* (SIAM, 2008), sections 3.2, 10.6 and 11.4.
    """

    def get_positions(self) -> Rows:
        """Coordinates of atoms and cell; called by ASE."""
        deformation = self._deformation()
        undeformed = np.linalg.solve(deformation, self.atoms.positions.T).T
        return np.concatenate(
            [undeformed, self.exp_cell_factor * logarithm(deformation)]
        )

    # ASE's classes name the argument differently
    def set_positions(self, new: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Move atoms and cell; called by ASE."""
        count = len(self.atoms)
        deformation = expm(new[count:] / self.exp_cell_factor)
        allowed = np.eye(3) + (deformation - np.eye(3)).T * self.mask
        self.atoms.set_cell(self.orig_cell @ allowed, scale_atoms=True)
        self.atoms.set_positions(new[:count] @ allowed, **kwargs)

    def get_forces(self, **options: Any) -> Rows:
        """Forces on atoms and cell; called by ASE."""
        stress = voigt_6_to_full_3x3_stress(self.atoms.get_stress(**options))
        volume = self.atoms.get_volume()
        virial = -volume * (stress + self.scalar_pressure * np.eye(3)) * self.mask
        self.stress = full_3x3_to_voigt_6_stress(-virial / volume)
        deformation = self._deformation()
        gradient = virial @ np.linalg.inv(deformation.T)
        on_cell = exponential_derivative(logarithm(deformation).T, gradient)
        on_atoms = self.atoms.get_forces(**options) @ deformation
        return np.concatenate([on_atoms, on_cell / self.exp_cell_factor])

    def _deformation(self) -> Matrix:
        deformation: np.ndarray = np.linalg.solve(
            self.orig_cell, self.atoms.cell.array
        ).T
        return deformation


def logarithm(matrix: Matrix) -> Matrix:
    """Principal logarithm; by a series if the matrix is not far from the identity."""
    ratio = np.linalg.solve(matrix + np.eye(3), matrix - np.eye(3))
    if np.linalg.norm(ratio) > MAX_SERIES:
        far: np.ndarray = logm(matrix)
        return far
    square = ratio @ ratio
    total, power, order = ratio.copy(), ratio, 1
    while np.abs(power).max() > NEGLIGIBLE_POWER:
        power, order = power @ square, order + 2
        total += power / order
    return 2 * total


def exponential_derivative(matrix: Matrix, direction: Matrix) -> Matrix:
    """Derivative of the matrix exponential along a direction."""
    block = np.zeros((6, 6))
    block[:3, :3] = block[3:, 3:] = matrix
    block[:3, 3:] = direction
    derivative: np.ndarray = expm(block)[:3, 3:]
    return derivative
