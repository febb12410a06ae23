"""Polycrystalline averages of elastic constants, and mechanical stability."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

Matrix = Float64[np.ndarray, "6 6"]
"""Elastic constants in Voigt order xx, yy, zz, yz, xz, xy, with engineering shears."""

MANDEL = np.sqrt(np.outer([1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2]))
"""Elementwise factors from Voigt to Mandel notation."""


@dataclass(frozen=True)
class Moduli:
    """Isotropic averages of elastic constants, and mechanical stability.

    Voigt averages assume uniform strain and are upper bounds of the moduli of a
    polycrystal, Reuss averages assume uniform stress and are lower bounds, Hill
    averages are their means. Young's modulus and Poisson's ratio are derived from Hill
    averages.

    Source:
        R. Hill, Proc. Phys. Soc. A 65, 349 (1952).
    """

    bulk_voigt: float
    """Moduli are in GPa."""
    bulk_reuss: float
    bulk_hill: float
    shear_voigt: float
    shear_reuss: float
    shear_hill: float
    young: float
    poisson: float
    """Dimensionless."""
    eigenvalues: Float64[np.ndarray, " 6"]
    """Eigenvalues of the stiffness in GPa (Mandel notation), ascending; independent of
    the orientation of the crystal."""
    stable: bool
    """Whether all eigenvalues are positive; otherwise averages are meaningless."""

    @property
    def averages(self) -> dict[str, float]:
        """Isotropic averages by name, in GPa except for Poisson's ratio."""
        others = ("eigenvalues", "stable")
        return {name: x for name, x in vars(self).items() if name not in others}


def turned_stiffness(stiffness: Matrix, rotation: Float64[np.ndarray, "3 3"]) -> Matrix:
    """Elastic constants in rotated axes.

    Args:
        stiffness: Elastic constants in any unit, in Voigt order.
        rotation: Rotation from old to new components of vectors; improper rotations are
            allowed.
    """
    pairs = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    place = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    tensor = stiffness[place[:, :, None, None], place]
    r = rotation
    turned = np.einsum("ai,bj,ck,dl,ijkl->abcd", r, r, r, r, tensor, optimize=True)
    return np.array([[turned[row + column] for column in pairs] for row in pairs])


def elastic_moduli(stiffness: Matrix) -> Moduli:
    """Isotropic moduli of elastic constants.

    Args:
        stiffness: Elastic constants in GPa; under stress, the Birch coefficients. Only
            the symmetric part is used.

    Returns:
        Moduli; averages are NaN if the stiffness is singular.

    Raises:
        ValueError: If a value is not finite.
    """
    if not np.isfinite(stiffness).all():
        raise ValueError("elastic constants must be finite")
    c = (stiffness + stiffness.T) / 2
    eigenvalues = np.linalg.eigvalsh(c * MANDEL)
    singular = np.abs(eigenvalues).min() <= 1e-12 * np.abs(eigenvalues).max()
    s = np.full((6, 6), np.nan) if singular else np.linalg.inv(c)
    bulk_voigt = c[:3, :3].sum() / 9
    shear_voigt = (3 * np.trace(c[:3, :3]) - c[:3, :3].sum()) / 30 + np.trace(
        c[3:, 3:]
    ) / 5
    bulk_reuss = 1 / s[:3, :3].sum()
    shear_reuss = 15 / (
        6 * np.trace(s[:3, :3]) - 2 * s[:3, :3].sum() + 3 * np.trace(s[3:, 3:])
    )
    bulk, shear = (bulk_voigt + bulk_reuss) / 2, (shear_voigt + shear_reuss) / 2
    return Moduli(
        bulk_voigt=float(bulk_voigt),
        bulk_reuss=float(bulk_reuss),
        bulk_hill=float(bulk),
        shear_voigt=float(shear_voigt),
        shear_reuss=float(shear_reuss),
        shear_hill=float(shear),
        young=float(9 * bulk * shear / (3 * bulk + shear)),
        poisson=float((3 * bulk - 2 * shear) / (2 * (3 * bulk + shear))),
        eigenvalues=eigenvalues,
        stable=bool(eigenvalues[0] > 0 and not singular),
    )
