"""Intrinsic reaction coordinate: steepest descent from a saddle point to both sides."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equipot.workflows.rigid_motion import internal_basis, rigid_motions
from equipot.workflows.second_derivatives import HessianFunction, hessian_matrix
from equipot.workflows.vibrations import bare

ARC_LENGTH_POINTS: Final = 500
"""Number of points for the integration of the arc length within one step."""

MAX_HALVINGS: Final = 6
"""Largest number of halvings of a step that increases the energy."""

MIN_VALLEY_CURVATURE: Final = 1e-4
"""Smallest curvature in eV/Å^2/amu for the estimate of the remaining energy drop: that
of 5 cm^-1."""

DROP_TOLERANCE: Final = 0.01
"""Largest remaining share of the energy drop at the end of a path."""


@dataclass(frozen=True)
class ReactionPath:
    """Structures from one valley over a saddle point into another.

    Attributes:
        frames: Structures, without calculators.
        energies: Energies of the frames in eV.
        lengths: Arc lengths along the path from the saddle point in Å amu^1/2; negative
            before it.
        saddle: Index of the frame of the saddle point.
        unfinished: Reasons why the first and the last side ended before a minimum; None
            for a side that is complete.
    """

    frames: tuple[Atoms, ...]
    energies: Float[np.ndarray, " frames"]
    lengths: Float[np.ndarray, " frames"]
    saddle: int
    unfinished: tuple[str | None, str | None] = (None, None)


@dataclass(frozen=True)
class _Point:
    atoms: Atoms
    energy: float
    length: float


@dataclass(frozen=True)
class _Slope:
    """Gradient and curvatures in the mass-weighted eigenvectors of the Hessian."""

    gradient: Float[np.ndarray, " internal"]
    curvatures: Float[np.ndarray, " internal"]
    vectors: Float[np.ndarray, "coordinates internal"]

    @property
    def curvature_along(self) -> float:
        """Curvature along the path in eV/Å^2/amu; the lowest one at a zero gradient."""
        square = float(self.gradient @ self.gradient)
        if square < 1e-20:
            return float(self.curvatures.min(initial=0.0))
        return float(self.gradient @ (self.curvatures * self.gradient)) / square

    @property
    def rest(self) -> float:
        """Estimate of the remaining energy drop in eV, by a quadratic model."""
        stiff = np.maximum(np.abs(self.curvatures), MIN_VALLEY_CURVATURE)
        return float((self.gradient**2 / stiff).sum() / 2)


def reaction_path(
    saddle: Atoms,
    hessian: HessianFunction,
    *,
    step: float = 0.1,
    fmax: float = 0.02,
    tolerance: float = DROP_TOLERANCE,
    max_steps: int = 150,
) -> ReactionPath:
    """Follow steepest descent in mass-weighted coordinates to both sides of a saddle.

    Every step follows the steepest descent on the local quadratic surface exactly, so
    its length is limited only by the validity of that surface; a step that increases
    the energy is halved. A side is complete if forces are small, the curvature along
    the path is positive, and the remaining drop on the quadratic surface is small.
    Small forces alone are not sufficient: they occur along any soft mode and at the
    saddle point itself.

    Args:
        saddle: Saddle point with a calculator; not changed.
        hessian: Hessian function of the same energy; called at every step.
        step: Length of a step in Å amu^1/2.
        fmax: Largest force in eV/Å at the end of a side.
        tolerance: Largest remaining share of the energy drop at the end of a side.
        max_steps: Largest number of steps to each side.

    Returns:
        The path; `ReactionPath.unfinished` has the reasons for incomplete sides. The
        first frame is on the side where the atom with the largest displacement in the
        imaginary mode (the first one if several) moves along a negative coordinate.

    Raises:
        ValueError: If no curvature at the structure is negative, or `tolerance` is not
            between 0 and 1.

    Source:
        Page and McIver, J. Chem. Phys. 88, 922 (1988).
    """
    if not 0 < tolerance < 1:
        raise ValueError(
            "expected a tolerance between 0 and 1, relative to the drop, got "
            f"{tolerance}"
        )
    slope = _slope(saddle, hessian)
    if slope.curvatures[0] >= 0:
        raise ValueError(
            "expected a saddle point, got a structure without negative curvature: "
            "search for the saddle point first"
        )
    mode = slope.vectors[:, 0]
    mode = mode * np.sign(mode[np.argmax(np.abs(mode))])
    top = _Point(bare(saddle), float(saddle.get_potential_energy()), 0.0)
    limits = _Limits(step, fmax, tolerance, max_steps)
    (first, early), (last, late) = (
        _descend(saddle, hessian, sign * mode, top.energy, limits)
        for sign in (-1.0, 1.0)
    )
    before = [_Point(p.atoms, p.energy, -p.length) for p in reversed(first)]
    points = [*before, top, *last]
    return ReactionPath(
        frames=tuple(p.atoms for p in points),
        energies=np.array([p.energy for p in points]),
        lengths=np.array([p.length for p in points]),
        saddle=len(before),
        unfinished=(early, late),
    )


@dataclass(frozen=True)
class _Limits:
    step: float
    fmax: float
    tolerance: float
    max_steps: int


def _descend(
    saddle: Atoms,
    hessian: HessianFunction,
    mode: Float[np.ndarray, " coordinates"],
    top: float,
    limits: _Limits,
) -> tuple[list[_Point], str | None]:
    """Points of one side, and the reason if it is incomplete."""
    atoms = saddle.copy()
    atoms.calc = saddle.calc
    move, length, energy = limits.step * mode, 0.0, top
    points: list[_Point] = []
    for _ in range(limits.max_steps):
        share = _go_down(atoms, move, energy)
        if share == 0:
            return points, "the energy increases along it before the minimum"
        energy = float(atoms.get_potential_energy())
        length += share * float(np.linalg.norm(move))
        points.append(_Point(bare(atoms), energy, length))
        slope = _slope(atoms, hessian)
        force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        level = slope.rest < limits.tolerance / 2 * (top - energy)
        if force < limits.fmax and level and slope.curvature_along > 0:
            return points, None
        if not slope.gradient.any():
            return points, "it ends at a stationary point that is not a minimum"
        move = _quadratic_descent(slope, limits.step)
    return points, (
        f"it needs more than {limits.max_steps} steps of {limits.step:g} Å amu^1/2: "
        "allow more steps (--path-steps) or longer ones (--step)"
    )


def _go_down(
    atoms: Atoms, move: Float[np.ndarray, " coordinates"], energy: float
) -> float:
    """Move by the longest halved step that lowers the energy; returns its length."""
    root = np.sqrt(atoms.get_masses())[:, None]
    start = atoms.positions.copy()
    for halving in range(MAX_HALVINGS + 1):
        share = 0.5**halving
        atoms.set_positions(start + share * move.reshape(-1, 3) / root)
        if float(atoms.get_potential_energy()) < energy:
            return share
    atoms.set_positions(start)
    return 0.0


def _quadratic_descent(slope: _Slope, step: float) -> Float[np.ndarray, " coordinates"]:
    """Steepest descent of a given arc length on the local quadratic surface."""
    curvatures, gradient = slope.curvatures, slope.gradient
    # Per unit of the first time step, the curve moves by at most
    # `step` / ARC_LENGTH_POINTS if it slows down; negative curvatures only accelerate.
    times = (
        np.arange(8 * ARC_LENGTH_POINTS)
        * step
        / (ARC_LENGTH_POINTS * np.linalg.norm(gradient))
    )
    decay = np.exp(-np.clip(np.outer(times, curvatures), -50, 700))
    speed = np.linalg.norm(decay * gradient, axis=1)
    walked = np.concatenate(
        [[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 * np.diff(times))]
    )
    time = float(np.interp(step, walked, times))
    exponent = np.clip(curvatures * time, -50, 700)
    # (1 - exp(-ht)) / h, which is t at h = 0
    small = np.abs(exponent) < 1e-8
    reach = np.where(
        small, time, -np.expm1(-exponent) / np.where(small, 1.0, curvatures)
    )
    return slope.vectors @ (-gradient * reach)


def _slope(atoms: Atoms, hessian: HessianFunction) -> _Slope:
    """Gradient and curvatures in mass-weighted coordinates without rigid motions."""
    masses = atoms.get_masses()
    root = np.repeat(np.sqrt(masses), 3)
    matrix = hessian_matrix(hessian, atoms)
    basis = internal_basis(atoms, masses, rigid_motions(atoms, matrix))
    weighted = matrix / root[:, None] / root
    curvatures, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
    vectors = basis @ vectors
    gradient = -vectors.T @ (atoms.get_forces().ravel() / root)
    return _Slope(gradient=gradient, curvatures=curvatures, vectors=vectors)
