"""Transition states by restricted-step, partitioned rational function optimization."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from jaxtyping import Float
from scipy.optimize import brentq

from equipot.workflows.rigid_motion import internal_basis, rigid_motions
from equipot.workflows.second_derivatives import HessianFunction, hessian_matrix
from equipot.workflows.vibrations import bare

NEGATIVE_BELOW: Final = -1e-3
"""Curvature in eV/Å^2 below which it counts as negative."""

FIRST_RADIUS: Final = 0.1
LARGEST_RADIUS: Final = 0.4
MIN_TRUST_RADIUS_A: Final = 1e-3
"""Smallest trust radius in Å, over all atoms."""

SYMMETRY_BREAKING_STEP_A: Final = 0.05
"""Displacement in Å from a stationary point with too many negative curvatures."""

MIN_PREDICTED_CHANGE_EV: Final = 1e-6
"""Smallest predicted energy change in eV for which the prediction is assessed."""


@dataclass(frozen=True)
class Saddle:
    """Result of a search for a saddle point.

    Attributes:
        atoms: Structure, without a calculator.
        energy: In eV.
        max_force: Largest force in eV/Å.
        curvatures: Eigenvalues of the Hessian without rigid motions, in eV/Å^2.
        direction: Unit vector over all atoms along the lowest curvature.
        steps: Number of steps, with one Hessian each.
        converged: Whether all forces are below the threshold.
    """

    atoms: Atoms
    energy: float
    max_force: float
    curvatures: Float[np.ndarray, " internal"]
    direction: Float[np.ndarray, "atoms 3"]
    steps: int
    converged: bool

    @property
    def num_negative(self) -> int:
        """Number of negative curvatures; exactly one at a transition state."""
        return int((self.curvatures < NEGATIVE_BELOW).sum())

    @property
    def is_transition_state(self) -> bool:
        """Whether forces are converged and exactly one curvature is negative."""
        return self.converged and self.num_negative == 1


@dataclass(frozen=True)
class _Surface:
    """Energy, gradient and Hessian of a structure in its internal eigenvectors."""

    energy: float
    max_force: float
    gradient: Float[np.ndarray, " internal"]
    curvatures: Float[np.ndarray, " internal"]
    vectors: Float[np.ndarray, "coordinates internal"]


def find_saddle(
    atoms: Atoms,
    hessian: HessianFunction,
    *,
    direction: Float[np.ndarray, "atoms 3"] | None = None,
    fmax: float = 1e-3,
    max_steps: int = 100,
    observe: Callable[[int, float, float, int], None] | None = None,
) -> Saddle:
    r"""Search for a saddle point: uphill along one mode, downhill along all others.

    Exact Hessians are used at every step. The step along the followed mode is that of
    the largest eigenvalue :math:`\nu` of the augmented Hessian, the step along the
    other modes is that of the smallest eigenvalue:

    .. math:: \begin{pmatrix} H & g \\ g^T & 0 \end{pmatrix}
              \begin{pmatrix} x \\ y \end{pmatrix}
              = \nu \begin{pmatrix} \alpha x \\ y \end{pmatrix}

    with :math:`\alpha \ge 1` such that the step is within the trust radius.

    Args:
        atoms: Initial guess with a calculator; not changed. `FixAtoms` constraints are
            respected.
        hessian: Hessian function of the same energy; called at every step.
        direction: Displacement in Å; the mode with the largest overlap is followed. By
            default the lowest mode.
        fmax: Convergence threshold of all forces in eV/Å.
        max_steps: Largest number of steps.
        observe: Called at every point with the number of steps, the energy in eV, the
            largest force in eV/Å and the number of negative curvatures.

    Returns:
        The result; check `Saddle.is_transition_state`.

    Source:
        Banerjee et al., J. Phys. Chem. 89, 52 (1985), for partitioned rational
        functions; Besalú and Bofill, Theor. Chem. Acc. 100, 265 (1998), for alpha.
    """
    moving = atoms.copy()
    moving.calc = atoms.calc
    here = _surface(moving, hessian)
    followed = None if direction is None else np.asarray(direction, dtype=float).ravel()
    radius = FIRST_RADIUS
    steps = 0
    while True:
        if observe is not None:
            negative = int((here.curvatures < NEGATIVE_BELOW).sum())
            observe(steps, here.energy, here.max_force, negative)
        done = here.max_force < fmax
        stuck = done and (here.curvatures < NEGATIVE_BELOW).sum() > 1
        if (done and not stuck) or steps == max_steps:
            return _result(moving, here, steps, done)
        mode = _followed_mode(here, followed)
        followed = here.vectors[:, mode]
        step = _off_symmetry(here, mode) if stuck else _step(here, mode, radius)
        before = moving.positions.copy()
        moving.set_positions(before + (here.vectors @ step).reshape(-1, 3))
        there = _surface(moving, hessian)
        steps += 1
        if stuck:
            here = there
            continue
        ratio = _agreement(here, there, step)
        radius, accepted = _trust(ratio, float(np.linalg.norm(step)), radius)
        if accepted:
            here = there
        else:
            moving.set_positions(before)


def _surface(atoms: Atoms, hessian: HessianFunction) -> _Surface:
    forces = atoms.get_forces()
    matrix = hessian_matrix(hessian, atoms)
    rigid = rigid_motions(atoms, matrix)
    basis = internal_basis(atoms, np.ones(len(atoms)), rigid)
    inside = basis.T @ matrix @ basis
    curvatures, vectors = np.linalg.eigh(inside)
    return _Surface(
        energy=float(atoms.get_potential_energy()),
        max_force=float(np.linalg.norm(forces, axis=1).max()),
        gradient=-(basis @ vectors).T @ forces.ravel(),
        curvatures=curvatures,
        vectors=basis @ vectors,
    )


def _followed_mode(
    here: _Surface, direction: Float[np.ndarray, " coordinates"] | None
) -> int:
    if direction is None:
        return 0
    return int(np.argmax(np.abs(direction @ here.vectors)))


def _step(here: _Surface, mode: int, radius: float) -> Float[np.ndarray, " internal"]:
    """Step of the rational functions, restricted to the trust radius."""

    def excess(log_alpha: float) -> float:
        step = _rational_step(here, mode, float(np.exp(log_alpha)))
        return float(np.linalg.norm(step)) - radius

    if excess(0.0) <= 0:
        return _rational_step(here, mode, 1.0)
    most = 2 * np.log(4 / radius) + 2
    while excess(most) > 0:
        most += 5
    return _rational_step(here, mode, float(np.exp(brentq(excess, 0.0, most))))


def _rational_step(
    here: _Surface, mode: int, alpha: float
) -> Float[np.ndarray, " internal"]:
    step = np.zeros_like(here.gradient)
    others = np.arange(len(step)) != mode
    for space, which in ((~others, -1), (others, 0)):
        g, h = here.gradient[space], here.curvatures[space]
        n = len(g)
        augmented = np.zeros((n + 1, n + 1))
        augmented[:n, :n] = np.diag(h / alpha)
        augmented[:n, n] = augmented[n, :n] = g / np.sqrt(alpha)
        shift = alpha * np.linalg.eigvalsh(augmented)[which]
        # A mode without a gradient may be exactly at the shift; its step is zero.
        gap = h - shift
        step[space] = np.where(g == 0, 0.0, -g / np.where(gap == 0, 1.0, gap))
    return step


def _off_symmetry(here: _Surface, mode: int) -> Float[np.ndarray, " internal"]:
    """Step away from a symmetric stationary point of the wrong order."""
    step = np.zeros_like(here.gradient)
    falling = [
        i for i, h in enumerate(here.curvatures) if h < NEGATIVE_BELOW and i != mode
    ]
    step[falling] = SYMMETRY_BREAKING_STEP_A
    return step


def _agreement(
    here: _Surface, there: _Surface, step: Float[np.ndarray, " internal"]
) -> float:
    """Ratio of the energy change to the prediction of the quadratic model."""
    predicted = here.gradient @ step + step @ (here.curvatures * step) / 2
    if abs(predicted) < MIN_PREDICTED_CHANGE_EV:
        return 1.0
    return float((there.energy - here.energy) / predicted)


def _trust(ratio: float, length: float, radius: float) -> tuple[float, bool]:
    """New trust radius, and whether the step is accepted."""
    if 0.75 < ratio < 1.33:
        grown = 1.5 * radius if length > 0.8 * radius else radius
        return min(grown, LARGEST_RADIUS), True
    if 0.25 < ratio < 2.5:
        return radius, True
    smaller = max(0.4 * min(radius, length), MIN_TRUST_RADIUS_A)
    # At the smallest radius a step is accepted even if the prediction is poor.
    return smaller, -1.0 < ratio < 4.0 or radius <= MIN_TRUST_RADIUS_A


def _result(atoms: Atoms, here: _Surface, steps: int, converged: bool) -> Saddle:
    return Saddle(
        atoms=bare(atoms),
        energy=here.energy,
        max_force=here.max_force,
        curvatures=here.curvatures,
        direction=here.vectors[:, 0].reshape(-1, 3),
        steps=steps,
        converged=converged,
    )
