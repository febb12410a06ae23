"""Relaxation by BFGS that begins with the model's own Hessian."""

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, final

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from jaxtyping import Float

from equipot.workflows.rigid_motion import free_atoms
from equipot.workflows.second_derivatives import HessianFunction, hessian_matrix
from equipot.workflows.vibrations import bare

SOFTEST: Final = 1.0
"""Curvatures in eV/Å^2 are taken for at least this, so that no step runs away."""

CELL_STEP: Final = 1e-4
"""Strain for the curvature of the cell, by central differences of the stress."""


@dataclass(frozen=True)
class Relaxation:
    """What a relaxation came to.

    Attributes:
        atoms: The relaxed structure, without a calculator.
        energy: In eV.
        start_energy: In eV, before the first step.
        max_force: Largest force in eV/Å, cell included where it was relaxed.
        steps: Steps taken.
        converged: Whether `max_force` is below what was asked for.
    """

    atoms: Atoms
    energy: float
    start_energy: float
    max_force: float
    steps: int
    converged: bool


@final
class SeededBFGS(BFGS):
    """ASE's BFGS with a given first Hessian in place of a multiple of the identity.

    Curvatures enter by their absolute values, at least `softest`: the first steps are
    Newton steps along stiff modes, and go downhill, not to a saddle, along others.

    Args:
        atoms: Structure, or a filter of it, as in ASE.
        hessian: Over all its degrees of freedom, in eV/Å^2.
        softest: Smallest curvature in eV/Å^2.
        options: Those of `ase.optimize.BFGS`.
    """

    def __init__(
        self,
        atoms: Any,
        hessian: Float[np.ndarray, "n n"],
        *,
        softest: float = SOFTEST,
        **options: Any,
    ) -> None:
        curvatures, vectors = np.linalg.eigh(hessian)
        clipped = np.maximum(np.abs(curvatures), softest)
        self._seed = (vectors * clipped) @ vectors.T
        super().__init__(atoms, **options)

    def initialize(self) -> None:
        """Start from the given Hessian; ASE calls this."""
        super().initialize()
        self.H0 = self._seed


def relax(
    atoms: Atoms,
    hessian: HessianFunction | None = None,
    *,
    cell: bool = False,
    fmax: float = 1e-3,
    max_steps: int = 500,
    logfile: IO[str] | str | Path | None = None,
) -> Relaxation:
    """Go to the nearest minimum of the energy; fixed atoms stay.

    One Hessian is computed, at the start; BFGS improves it from there.

    Args:
        atoms: Start, with a calculator; left as it is.
        hessian: Second derivatives; without them, ASE's plain BFGS.
        cell: Whether the cell relaxes too; the calculator then needs a stress.
        fmax: Force in eV/Å below which all must be.
        max_steps: Most steps.
        logfile: Where ASE prints a line for each step; nowhere if left out.

    Returns:
        The result; `converged` says whether it is one.

    Raises:
        ValueError: If the cell of a structure that is not periodic is to relax, or
            there are constraints other than `FixAtoms`.
    """
    if cell and not atoms.pbc.all():
        raise ValueError(
            "a cell can relax if all three directions are periodic, got "
            f"pbc={atoms.pbc.tolist()}: leave out the relaxation of the cell"
        )
    moving = atoms.copy()
    moving.calc = atoms.calc
    start_energy = float(moving.get_potential_energy())
    target: Any = FrechetCellFilter(moving) if cell else moving
    if hessian is None:
        optimizer = BFGS(target, logfile=logfile)
    else:
        seed = _of_free_atoms(hessian_matrix(hessian, moving), moving)
        if cell:
            seed = _with_cell(seed, target)
        optimizer = SeededBFGS(target, seed, logfile=logfile)
    converged = bool(optimizer.run(fmax=fmax, steps=max_steps))
    forces = np.asarray(target.get_forces()).reshape(-1, 3)
    return Relaxation(
        atoms=bare(moving),
        energy=float(moving.get_potential_energy()),
        start_energy=start_energy,
        max_force=float(np.linalg.norm(forces, axis=1).max()),
        steps=optimizer.get_number_of_steps(),
        converged=converged,
    )


def _of_free_atoms(
    matrix: Float[np.ndarray, "n n"], atoms: Atoms
) -> Float[np.ndarray, "n n"]:
    """Fixed atoms do not respond, so free ones must not count on them."""
    free = np.zeros(len(atoms), dtype=bool)
    free[free_atoms(atoms)] = True
    free = np.repeat(free, 3)
    return np.where(free[:, None] & free, matrix, np.eye(len(matrix)))


def _with_cell(
    positions: Float[np.ndarray, "n n"], target: FrechetCellFilter
) -> Float[np.ndarray, "m m"]:
    """Hessian of positions, and of the cell by differences of forces and stress."""
    start = target.get_positions().copy()
    n = len(positions)
    step = CELL_STEP * target.exp_cell_factor
    columns = []
    for k in range(9):
        change = np.zeros(start.size)
        change[n + k] = step
        sides = []
        for sign in (1, -1):
            target.set_positions(start + sign * change.reshape(-1, 3))
            sides.append(target.get_forces().ravel())
        columns.append((sides[1] - sides[0]) / (2 * step))
    target.set_positions(start)
    across = np.stack(columns, axis=1)
    full = np.zeros((n + 9, n + 9))
    full[:n, :n] = positions
    full[:, n:] = across
    full[n:, :n] = across[:n].T
    full[n:, n:] = (across[n:] + across[n:].T) / 2
    return full
