"""Intrinsic reaction coordinate: the way down from a saddle point, to both sides."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equipot.workflows.rigid_motion import internal_basis, rigid_motions
from equipot.workflows.second_derivatives import HessianFunction, hessian_matrix
from equipot.workflows.vibrations import bare

SUBSTEPS: Final = 500
"""Points on which the length of a curve within one step is integrated."""

HALVINGS: Final = 6
"""How often a step that leads uphill is halved before a side is given up."""

SOFTEST: Final = 1e-4
"""Curvature in eV/Å^2/amu that the bottom of a valley has at least where the rest of a
path is estimated: that of 5 cm^-1."""

TOLERANCE: Final = 0.01
"""Share of the way down, in energy, that may be left where a path has arrived."""


@dataclass(frozen=True)
class ReactionPath:
    """Structures from one valley over a saddle point into the other.

    Attributes:
        frames: Structures, without calculators.
        energies: Of them, in eV.
        lengths: Along the path from the saddle point, in Å amu^1/2; negative before it.
        saddle: Which frame the saddle point is.
        unfinished: Why the first and the last side stopped before the bottom of a
            valley; None where one arrived.
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
        """Curvature along the path, in eV/Å^2/amu; the lowest where it has no slope."""
        square = float(self.gradient @ self.gradient)
        if square < 1e-20:
            return float(self.curvatures.min(initial=0.0))
        return float(self.gradient @ (self.curvatures * self.gradient)) / square

    @property
    def rest(self) -> float:
        """Energy in eV from here down to the bottom of a quadratic valley."""
        stiff = np.maximum(np.abs(self.curvatures), SOFTEST)
        return float((self.gradient**2 / stiff).sum() / 2)


def reaction_path(
    saddle: Atoms,
    hessian: HessianFunction,
    *,
    step: float = 0.1,
    fmax: float = 0.02,
    tolerance: float = TOLERANCE,
    max_steps: int = 150,
) -> ReactionPath:
    """Steepest descent in mass-weighted coordinates, from a saddle point to both sides.

    Every step follows the steepest descent of the local quadratic surface exactly, so
    a step may be as long as that surface holds; one that leads uphill is halved. A side
    has arrived where forces are small, the curvature along the path is positive, and
    the quadratic surface has almost nothing left to fall: small forces alone are those
    of any soft motion, the saddle point itself among them.

    Args:
        saddle: Saddle point, with a calculator; left as it is.
        hessian: Second derivatives of the same energy; asked for at every step.
        step: Length of a step in Å amu^1/2.
        fmax: Largest force in eV/Å where a side has arrived in its valley.
        tolerance: Largest share of the drop so far that may be left there.
        max_steps: Most steps to each side.

    Returns:
        The path; `ReactionPath.unfinished` says which side did not arrive, and why. Its
        first frame is on the side to which the first atom with the largest part in the
        imaginary mode moves along a negative coordinate.

    Raises:
        ValueError: If no curvature at the structure is negative, or the tolerance is
            not a share.

    Source:
        Page and McIver, J. Chem. Phys. 88, 922 (1988).
    """
    if not 0 < tolerance < 1:
        raise ValueError(
            "expected a tolerance between 0 and 1, a share of the drop, got "
            f"{tolerance}"
        )
    slope = _slope(saddle, hessian)
    if slope.curvatures[0] >= 0:
        raise ValueError(
            "expected a saddle point, got a structure without a negative curvature: "
            "search for the saddle first"
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
    """Points of one side, and why it did not arrive."""
    atoms = saddle.copy()
    atoms.calc = saddle.calc
    move, length, energy = limits.step * mode, 0.0, top
    points: list[_Point] = []
    for _ in range(limits.max_steps):
        share = _go_down(atoms, move, energy)
        if share == 0:
            return points, "the energy rises along it before it arrives"
        energy = float(atoms.get_potential_energy())
        length += share * float(np.linalg.norm(move))
        points.append(_Point(bare(atoms), energy, length))
        slope = _slope(atoms, hessian)
        force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        level = slope.rest < limits.tolerance / 2 * (top - energy)
        if force < limits.fmax and level and slope.curvature_along > 0:
            return points, None
        if not slope.gradient.any():
            return points, "it ends at another stationary point that is no minimum"
        move = _quadratic_descent(slope, limits.step)
    return points, (
        f"it needs more than {limits.max_steps} steps of {limits.step:g} Å amu^1/2: "
        "allow more (--path-steps) or longer ones (--step)"
    )


def _go_down(
    atoms: Atoms, move: Float[np.ndarray, " coordinates"], energy: float
) -> float:
    """Move by the largest of the halves of a step that lowers the energy; which."""
    root = np.sqrt(atoms.get_masses())[:, None]
    start = atoms.positions.copy()
    for halving in range(HALVINGS + 1):
        share = 0.5**halving
        atoms.set_positions(start + share * move.reshape(-1, 3) / root)
        if float(atoms.get_potential_energy()) < energy:
            return share
    atoms.set_positions(start)
    return 0.0


def _quadratic_descent(slope: _Slope, step: float) -> Float[np.ndarray, " coordinates"]:
    """Steepest descent of given length on the quadratic surface at a structure."""
    curvatures, gradient = slope.curvatures, slope.gradient
    # In units of the first time step, the curve moves by `step` / SUBSTEPS or less
    # where it slows down, and curvatures that are negative only speed it up.
    times = np.arange(8 * SUBSTEPS) * step / (SUBSTEPS * np.linalg.norm(gradient))
    decay = np.exp(-np.clip(np.outer(times, curvatures), -50, 700))
    speed = np.linalg.norm(decay * gradient, axis=1)
    walked = np.concatenate(
        [[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 * np.diff(times))]
    )
    time = float(np.interp(step, walked, times))
    exponent = np.clip(curvatures * time, -50, 700)
    # (1 - exp(-ht)) / h, which is t where h vanishes
    small = np.abs(exponent) < 1e-8
    reach = np.where(
        small, time, -np.expm1(-exponent) / np.where(small, 1.0, curvatures)
    )
    return slope.vectors @ (-gradient * reach)


def _slope(atoms: Atoms, hessian: HessianFunction) -> _Slope:
    """In mass-weighted coordinates without rigid motions."""
    masses = atoms.get_masses()
    root = np.repeat(np.sqrt(masses), 3)
    matrix = hessian_matrix(hessian, atoms)
    basis = internal_basis(atoms, masses, rigid_motions(atoms, matrix))
    weighted = matrix / root[:, None] / root
    curvatures, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
    vectors = basis @ vectors
    gradient = -vectors.T @ (atoms.get_forces().ravel() / root)
    return _Slope(gradient=gradient, curvatures=curvatures, vectors=vectors)
