"""Clamped-ion and relaxed-ion elastic constants from second derivatives."""

from dataclasses import dataclass
from functools import cached_property

import ase.units
import numpy as np
from jaxtyping import Float64

from equipot.graph.atomic_graph import AtomicGraph
from equipot.hessians.moduli import Moduli, elastic_moduli
from equipot.hessians.strain import VOIGT, StrainDerivatives, strain_derivatives
from equipot.models.energy_model import EnergyModel

GPA_PER_EV_PER_A3 = 1 / ase.units.GPa
"""Pressure in GPa of 1 eV/Å^3."""

MAX_TRANSLATION_SHARE = 1e-4
"""Largest curvature of translations that counts as rounding, relative to the largest
curvature."""

Matrix = Float64[np.ndarray, "6 6"]


@dataclass(frozen=True)
class ElasticConstants:
    r"""Elastic constants in GPa, Voigt order xx, yy, zz, yz, xz, xy.

    Shear strains are engineering strains, so the element 44 is :math:`C_{yzyz}`.

    Brugger coefficients C are second derivatives of the energy with respect to the
    Lagrangian strain :math:`\eta = \epsilon + \epsilon^2 / 2`, with full Voigt
    symmetry. Birch coefficients B are derivatives of the Cauchy stress with respect to
    strain,

    .. math:: B_{ijkl} = C_{ijkl} + \tfrac12 (\sigma_{ik} \delta_{jl}
                         + \sigma_{jk} \delta_{il} + \sigma_{il} \delta_{jk}
                         + \sigma_{jl} \delta_{ik} - 2 \sigma_{ij} \delta_{kl}),

    which determine mechanical stability and are measured in experiments under pressure.
    Without stress both are equal.

    Source:
        D. C. Wallace, *Thermodynamics of Crystals* (Wiley, 1972), chapter 1.
    """

    brugger: Matrix
    """Relaxed-ion Brugger coefficients."""
    birch: Matrix
    """Relaxed-ion Birch coefficients."""
    clamped_brugger: Matrix
    """Clamped-ion Brugger coefficients: atoms follow the strain."""
    clamped_birch: Matrix
    """Clamped-ion Birch coefficients: atoms follow the strain."""
    stress: Float64[np.ndarray, "3 3"]
    """Stress in GPa, positive in tension."""
    max_force: float
    """Largest force on an atom, in eV/Å."""
    softest_internal: float
    """Lowest eigenvalue of the Hessian without translations in eV/Å^2; positive at a
    minimum. Infinite for one atom."""
    stiffest_internal: float
    """Highest eigenvalue of the Hessian without translations in eV/Å^2. Zero for one
    atom."""
    translation: float
    """Largest first-order force on an atom in eV/Å for a uniform translation by 1 Å;
    zero for a translationally invariant energy."""

    @property
    def invariant(self) -> bool:
        """Whether the energy is translationally invariant within noise."""
        scale = max(self.stiffest_internal, abs(self.softest_internal), 1.0)
        scale = scale if np.isfinite(scale) else 1.0
        return self.translation <= MAX_TRANSLATION_SHARE * scale

    @cached_property
    def moduli(self) -> Moduli:
        """Moduli and stability of the relaxed-ion Birch coefficients."""
        return elastic_moduli(self.birch)

    @property
    def stable(self) -> bool:
        """Whether all strains and internal displacements increase the energy."""
        return self.moduli.stable and self.softest_internal > 0


def elastic_constants(
    model: EnergyModel, graph: AtomicGraph, *, max_force: float = 1e-2
) -> ElasticConstants:
    """Elastic constants of a crystal with relaxed atoms.

    Args:
        model: Model in any mode; float64 is recommended.
        graph: One crystal with relaxed atoms; the cell may be under stress.
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
    :math:`\Phi` without translations. The stress enters since A are derivatives with
    respect to :math:`\epsilon` and C with respect to :math:`\epsilon + \epsilon^2 / 2`.

    Args:
        derivatives: Derivatives of one crystal.
        max_force: Largest force in eV/Å that counts as relaxed.

    Raises:
        ValueError: If forces are larger, or the Hessian has zero modes besides
            translations.
    """
    forces = derivatives.forces.double().norm(dim=1)
    force = float(forces.max()) if len(forces) else 0.0
    if not force <= max_force:
        raise ValueError(
            f"the largest force is {force:.3g} eV/Å, expected at most "
            f"max_force={max_force:g}: elastic constants need relaxed atoms; relax the "
            "structure first"
        )
    stress = derivatives.stress.double().cpu().numpy()
    clamped = derivatives.strain_strain.double().cpu().numpy()
    relaxation, softest, stiffest = _relaxation(derivatives)
    scale = GPA_PER_EV_PER_A3 / derivatives.volume
    stress = stress * GPA_PER_EV_PER_A3
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
    """Reduction of the curvature in eV by internal relaxation, and extreme modes."""
    phi = derivatives.hessian.double().cpu().numpy()
    size = 3 * len(phi)
    phi = phi.reshape(size, size)
    coupling = derivatives.strain_displacement.double().cpu().numpy().reshape(size, 6)
    if size <= 3:
        return np.zeros((6, 6)), np.inf, 0.0
    # Orthonormal basis of displacements without translations.
    units = np.tile(np.eye(3), (size // 3, 1)) / np.sqrt(size / 3)
    basis = np.linalg.qr(units, mode="complete")[0][:, 3:]
    values, vectors = np.linalg.eigh(basis.T @ ((phi + phi.T) / 2) @ basis)
    if np.abs(values).min() <= 1e-9 * np.abs(values).max():
        raise ValueError(
            "the Hessian has zero modes besides translations: there are atoms without "
            "neighbors, or parts of the crystal that slide freely; their response to "
            "strain is undefined"
        )
    projected = vectors.T @ (basis.T @ coupling)
    taken = projected.T @ (projected / values[:, None])
    return taken, float(values[0]), float(values[-1])


def _translation(derivatives: StrainDerivatives) -> float:
    """Largest first-order force for a uniform translation by 1 Å."""
    by_moving = derivatives.hessian.double().sum(dim=2)
    return float(by_moving.norm(dim=1).max()) if by_moving.numel() else 0.0


def _stress_terms(stress: Float64[np.ndarray, "3 3"]) -> tuple[Matrix, Matrix]:
    """Stress terms: curvatures to Brugger, and Brugger to Birch coefficients."""
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
