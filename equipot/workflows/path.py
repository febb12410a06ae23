"""Intrinsic reaction coordinate: the way down from a saddle point, to both sides."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equipot.workflows.rigid_motion import internal_basis
from equipot.workflows.second_derivatives import HessianFunction, hessian_matrix
from equipot.workflows.vibrations import bare

SUBSTEPS: Final = 500
"""Points on which the length of a curve within one step is integrated."""

RISE: Final = 1e-6
"""A path that rises by more than this, in eV, has passed the bottom of the valley."""


@dataclass(frozen=True)
class ReactionPath:
    """Structures from one valley over a saddle point into the other.

    Attributes:
        frames: Structures, without calculators.
        energies: Of them, in eV.
        lengths: Along the path from the saddle point, in Å amu^1/2; negative before it.
        saddle: Which frame the saddle point is.
    """

    frames: tuple[Atoms, ...]
    energies: Float[np.ndarray, " frames"]
    lengths: Float[np.ndarray, " frames"]
    saddle: int


@dataclass(frozen=True)
class _Point:
    atoms: Atoms
    energy: float
    length: float


def reaction_path(
    saddle: Atoms,
    hessian: HessianFunction,
    *,
    step: float = 0.1,
    fmax: float = 0.02,
    max_steps: int = 150,
) -> ReactionPath:
    """Steepest descent in mass-weighted coordinates, from a saddle point to both sides.

    Every step follows the steepest descent of the local quadratic surface exactly, so
    a step may be as long as that surface holds.

    Args:
        saddle: Saddle point, with a calculator; left as it is.
        hessian: Second derivatives of the same energy; asked for at every step.
        step: Length of a step in Å amu^1/2.
        fmax: Force in eV/Å at which a side has arrived in its valley.
        max_steps: Most steps to each side.

    Returns:
        The path. Its first frame is on the side to which the first atom with the
        largest part in the imaginary mode moves along a negative coordinate.

    Raises:
        ValueError: If no curvature at the structure is negative.

    Source:
        Page and McIver, J. Chem. Phys. 88, 922 (1988).
    """
    curvatures, vectors = _weighted_modes(saddle, hessian)
    if curvatures[0] >= 0:
        raise ValueError(
            "expected a saddle point, got a structure without a negative curvature: "
            "search for the saddle first"
        )
    mode = vectors[:, 0]
    mode = mode * np.sign(mode[np.argmax(np.abs(mode))])
    top = _Point(bare(saddle), float(saddle.get_potential_energy()), 0.0)
    sides = [
        list(_descend(saddle, hessian, sign * mode, top.energy, step, fmax, max_steps))
        for sign in (-1.0, 1.0)
    ]
    before = [_Point(p.atoms, p.energy, -p.length) for p in reversed(sides[0])]
    points = [*before, top, *sides[1]]
    return ReactionPath(
        frames=tuple(p.atoms for p in points),
        energies=np.array([p.energy for p in points]),
        lengths=np.array([p.length for p in points]),
        saddle=len(before),
    )


def _descend(
    saddle: Atoms,
    hessian: HessianFunction,
    mode: Float[np.ndarray, " coordinates"],
    energy: float,
    step: float,
    fmax: float,
    max_steps: int,
) -> Iterator[_Point]:
    atoms = saddle.copy()
    atoms.calc = saddle.calc
    root = np.sqrt(atoms.get_masses())[:, None]
    move, length, force = step * mode, 0.0, 0.0
    for _ in range(max_steps):
        atoms.set_positions(atoms.positions + move.reshape(-1, 3) / root)
        new = float(atoms.get_potential_energy())
        if new > energy + RISE:
            return
        length += float(np.linalg.norm(move))
        energy = new
        yield _Point(bare(atoms), energy, length)
        last, force = force, float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        # Forces are small near the saddle point as well, but there they grow.
        if force < fmax and force < last:
            return
        move = _quadratic_descent(atoms, hessian, step)


def _quadratic_descent(
    atoms: Atoms, hessian: HessianFunction, step: float
) -> Float[np.ndarray, " coordinates"]:
    """Steepest descent of given length on the quadratic surface at a structure."""
    curvatures, vectors = _weighted_modes(atoms, hessian)
    root = np.repeat(np.sqrt(atoms.get_masses()), 3)
    gradient = -vectors.T @ (atoms.get_forces().ravel() / root)
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
    return vectors @ (-gradient * reach)


def _weighted_modes(
    atoms: Atoms, hessian: HessianFunction
) -> tuple[Float[np.ndarray, " internal"], Float[np.ndarray, "coordinates internal"]]:
    """Eigenvalues and, in mass-weighted coordinates, vectors of the Hessian."""
    masses = atoms.get_masses()
    root = np.repeat(np.sqrt(masses), 3)
    weighted = hessian_matrix(hessian, atoms) / root[:, None] / root
    basis = internal_basis(atoms, masses)
    curvatures, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
    return curvatures, basis @ vectors
