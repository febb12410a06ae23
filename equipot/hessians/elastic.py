"""Elastic constants from second derivatives, ions relaxed or not, under any stress."""

from dataclasses import dataclass
from functools import cached_property

import ase.units
import numpy as np
from jaxtyping import Float64

from equipot.graph.atomic_graph import AtomicGraph
from equipot.hessians.moduli import Moduli, elastic_moduli
from equipot.hessians.strain import VOIGT, StrainDerivatives, strain_derivatives
from equipot.models.energy_model import EnergyModel

GPA = 1 / ase.units.GPa
"""GPa in one eV/Å^3."""

NOISE = 1e-4
"""Share of the largest curvature that rounding may give to translations."""

Matrix = Float64[np.ndarray, "6 6"]


@dataclass(frozen=True)
class ElasticConstants:
    r"""Elastic constants in GPa, Voigt order xx, yy, zz, yz, xz, xy.

    Shears are engineering shears, so that the 44 element is :math:`C_{yzyz}`.

    Brugger coefficients C are second derivatives of the energy by the Lagrangian
    strain :math:`\eta = \epsilon + \epsilon^2 / 2`; they have all symmetries. Birch
    coefficients B are derivatives of the Cauchy stress by strain,

    .. math:: B_{ijkl} = C_{ijkl} + \tfrac12 (\sigma_{ik} \delta_{jl}
                         + \sigma_{jk} \delta_{il} + \sigma_{il} \delta_{jk}
                         + \sigma_{jl} \delta_{ik} - 2 \sigma_{ij} \delta_{kl}),

    which decide on stability and are what an experiment under pressure measures.
    Without stress they are the same.

    Source:
        D. C. Wallace, *Thermodynamics of Crystals* (Wiley, 1972), chapter 1.
    """

    brugger: Matrix
    """Atoms relax in the strained cell."""
    birch: Matrix
    """Atoms relax in the strained cell."""
    clamped_brugger: Matrix
    """Atoms follow the strain."""
    clamped_birch: Matrix
    """Atoms follow the strain."""
    stress: Float64[np.ndarray, "3 3"]
    """In GPa, positive in tension."""
    max_force: float
    """Largest force on an atom, in eV/Å."""
    softest_internal: float
    """Lowest eigenvalue of the Hessian without translations in eV/Å^2; not positive if
    the atoms are not in a minimum. Infinite for one atom."""
    stiffest_internal: float
    """Highest eigenvalue of the same, in eV/Å^2. Zero for one atom."""
    translation: float
    """Largest force on an atom, in eV/Å, when all atoms move alike by 1 Å; zero for an
    energy that does not depend on where the crystal is."""

    @property
    def invariant(self) -> bool:
        """Whether moving all atoms alike costs nothing, within noise."""
        scale = max(self.stiffest_internal, abs(self.softest_internal), 1.0)
        scale = scale if np.isfinite(scale) else 1.0
        return self.translation <= NOISE * scale

    @cached_property
    def moduli(self) -> Moduli:
        """Averages and stability of the relaxed Birch coefficients."""
        return elastic_moduli(self.birch)

    @property
    def stable(self) -> bool:
        """Whether strains of the cell and displacements inside it all cost energy."""
        return self.moduli.stable and self.softest_internal > 0


def elastic_constants(
    model: EnergyModel, graph: AtomicGraph, *, max_force: float = 1e-2
) -> ElasticConstants:
    """Elastic constants of a crystal at rest.

    Args:
        model: In any mode; float64 is advisable.
        graph: One crystal whose atoms are relaxed; its cell need not be.
        max_force: Largest force in eV/Å that counts as relaxed.

    Raises:
        ValueError: If the graph is a batch or has no volume, forces are larger, or the
            Hessian has zero modes besides translations.
    """
    return from_derivatives(strain_derivatives(model, graph), max_force=max_force)


def from_derivatives(
    derivatives: StrainDerivatives, *, max_force: float = 1e-2
) -> ElasticConstants:
    r"""Elastic constants from derivatives of the energy.

    .. math:: A = \frac{1}{V} \left( E_{ee} - \Lambda^T \Phi^+ \Lambda \right), \qquad
              C_{ijkl} = A_{ijkl} - \tfrac14 (\sigma_{ik} \delta_{jl}
                         + \sigma_{jk} \delta_{il} + \sigma_{il} \delta_{jk}
                         + \sigma_{jl} \delta_{ik})

    with the coupling :math:`\Lambda` of strain and displacements and the Hessian
    :math:`\Phi` without its translations. The stress enters because A are derivatives
    by :math:`\epsilon` and C by :math:`\epsilon + \epsilon^2 / 2`.

    Args:
        derivatives: Of one crystal.
        max_force: Largest force in eV/Å that counts as relaxed.

    Raises:
        ValueError: If forces are larger, or the Hessian has zero modes besides
            translations.
    """
    forces = derivatives.forces.double().norm(dim=1)
    force = float(forces.max()) if len(forces) else 0.0
    if not force <= max_force:
        raise ValueError(
            f"the largest force is {force:.3g} eV/Å, more than max_force={max_force:g}:"
            " atoms that are not at rest have no elastic constants; relax them first"
        )
    stress = derivatives.stress.double().cpu().numpy()
    clamped = derivatives.strain_strain.double().cpu().numpy()
    relaxation, softest, stiffest = _relaxation(derivatives)
    scale = GPA / derivatives.volume
    stress = stress * GPA
    to_brugger, to_birch = _stress_terms(stress)
    clamped_brugger = clamped * scale + to_brugger
    brugger = (clamped - relaxation) * scale + to_brugger
    return ElasticConstants(
        brugger=brugger,
        birch=brugger + to_birch,
        clamped_brugger=clamped_brugger,
        clamped_birch=clamped_brugger + to_birch,
        stress=stress,
        max_force=force,
        softest_internal=softest,
        stiffest_internal=stiffest,
        translation=_translation(derivatives),
    )


def _relaxation(derivatives: StrainDerivatives) -> tuple[Matrix, float, float]:
    """What relaxing atoms takes off the curvature in eV, softest and stiffest mode."""
    phi = derivatives.hessian.double().cpu().numpy()
    size = 3 * len(phi)
    phi = phi.reshape(size, size)
    coupling = derivatives.strain_displacement.double().cpu().numpy().reshape(size, 6)
    if size <= 3:
        return np.zeros((6, 6)), np.inf, 0.0
    # an orthonormal basis of displacements without translations
    units = np.tile(np.eye(3), (size // 3, 1)) / np.sqrt(size / 3)
    basis = np.linalg.qr(units, mode="complete")[0][:, 3:]
    values, vectors = np.linalg.eigh(basis.T @ ((phi + phi.T) / 2) @ basis)
    if np.abs(values).min() <= 1e-9 * np.abs(values).max():
        raise ValueError(
            "the Hessian has zero modes besides the translations: an atom without "
            "neighbors, or parts of the crystal that slide freely; their response to "
            "strain is not defined"
        )
    projected = vectors.T @ (basis.T @ coupling)
    taken = projected.T @ (projected / values[:, None])
    return taken, float(values[0]), float(values[-1])


def _translation(derivatives: StrainDerivatives) -> float:
    """Largest force when all atoms move alike by 1 Å, to first order."""
    by_moving = derivatives.hessian.double().sum(dim=2)
    return float(by_moving.norm(dim=1).max()) if by_moving.numel() else 0.0


def _stress_terms(stress: Float64[np.ndarray, "3 3"]) -> tuple[Matrix, Matrix]:
    """From curvatures by strain to Brugger, and from Brugger to Birch coefficients."""
    one = np.eye(3)
    mixed = (
        np.einsum("ik,jl->ijkl", stress, one)
        + np.einsum("jk,il->ijkl", stress, one)
        + np.einsum("il,jk->ijkl", stress, one)
        + np.einsum("jl,ik->ijkl", stress, one)
    )
    birch = mixed / 2 - np.einsum("ij,kl->ijkl", stress, one)
    return _voigt(-mixed / 4), _voigt(birch)


def _voigt(tensor: Float64[np.ndarray, "3 3 3 3"]) -> Matrix:
    return np.array([[tensor[row + column] for column in VOIGT] for row in VOIGT])
