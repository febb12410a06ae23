"""Relaxation by BFGS started from the Hessian of the model, or by L-BFGS."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, final

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS, LBFGS
from ase.optimize.optimize import Optimizer
from jaxtyping import Float

from equipot.workflows.cell_filter import CellFilter
from equipot.workflows.fixed_symmetry import SYMMETRY_TOLERANCE_A
from equipot.workflows.relaxation_target import (
    as_given,
    as_start,
    check_request,
    largest_force,
    longest_step,
    net_force,
    target_of,
)
from equipot.workflows.rigid_motion import free_atoms
from equipot.workflows.second_derivatives import HessianFunction, hessian_matrix
from equipot.workflows.strain_mask import StrainMask

MIN_CURVATURE: Final = 1.0
"""Lower bound in eV/Å^2 of the initial curvatures, which limits the steps."""

STRAIN_STEP: Final = 1e-4
"""Strain of the central differences of the stress for the curvature of the cell."""

MAX_HESSIAN_ATOMS: Final = 100
"""Number of atoms above which L-BFGS is used instead of BFGS with a Hessian, which
costs about three evaluations of forces per atom, more than it saves."""


@dataclass(frozen=True)
class RelaxationStep:
    """State of a relaxation after a step.

    Attributes:
        number: Number of steps so far.
        energy: Energy in eV.
        max_force: Largest force in eV/Å, including that on the cell if it relaxes.
        atoms: Copy of the structure with energy, forces and, if there is one, stress.
    """

    number: int
    energy: float
    max_force: float
    atoms: Atoms


Observer = Callable[[RelaxationStep], None]
"""Called at the start and after each step."""


@dataclass(frozen=True)
class Relaxation:
    """Result of a relaxation.

    Attributes:
        atoms: Relaxed structure without a calculator, with all data of the initial
            structure except labels and momenta.
        energy: Total energy in eV, without the pressure-volume term.
        start_energy: Total energy in eV before the first step.
        max_force: Largest force in eV/Å, including that on the cell if it was relaxed.
        steps: Number of steps.
        converged: Whether `max_force` is below the threshold.
        method: Optimizer.
        pressure: External pressure on the cell in GPa.
        net_force: Mean force per atom in eV/Å, at the start or at the end, whichever is
            larger; zero for a translationally invariant energy.
        notes: Notes on data that was dropped or changed.
    """

    atoms: Atoms
    energy: float
    start_energy: float
    max_force: float
    steps: int
    converged: bool
    method: str = ""
    pressure: float = 0.0
    net_force: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def enthalpy(self) -> float:
        """Enthalpy in eV: energy plus pressure times volume."""
        if self.pressure == 0:
            return self.energy
        return self.energy + self.pressure * units.GPa * self.atoms.get_volume()


@final
class SeededBFGS(BFGS):
    """ASE's BFGS with a given initial Hessian instead of a multiple of the identity.

    Curvatures are replaced by their absolute values, at least `softest`: the first
    steps are Newton steps along stiff modes, and go downhill along modes of negative
    curvature.

    Args:
        atoms: Structure or ASE filter.
        hessian: Hessian over all degrees of freedom in eV/Å^2.
        softest: Lower bound of the curvatures in eV/Å^2.
        options: Options of `ase.optimize.BFGS`.
    """

    def __init__(
        self,
        atoms: Any,
        hessian: Float[np.ndarray, "n n"],
        *,
        softest: float = MIN_CURVATURE,
        **options: Any,
    ) -> None:
        curvatures, vectors = np.linalg.eigh(hessian)
        clipped = np.maximum(np.abs(curvatures), softest)
        self._seed = (vectors * clipped) @ vectors.T
        super().__init__(atoms, **options)

    def initialize(self) -> None:
        """Set the initial Hessian; called by ASE."""
        super().initialize()
        self.H0 = self._seed


def relax(
    atoms: Atoms,
    hessian: HessianFunction | None = None,
    *,
    cell: bool = False,
    strains: Sequence[str] = (),
    pressure: float = 0.0,
    keep_symmetry: bool = False,
    symmetry_tolerance: float = SYMMETRY_TOLERANCE_A,
    fmax: float = 1e-3,
    max_steps: int = 500,
    hessian_up_to: int = MAX_HESSIAN_ATOMS,
    observer: Observer | None = None,
    logfile: IO[str] | str | Path | None = None,
) -> Relaxation:
    """Relax a structure to a local minimum of the energy; fixed atoms do not move.

    One Hessian is computed at the start, unless forces are already below the threshold,
    and updated by BFGS. A cell relaxes along its periodic directions only; fixed atoms
    then keep their fractional coordinates.

    Args:
        atoms: Initial structure with a calculator; not changed.
        hessian: Hessian function; without it, plain BFGS of ASE is used.
        cell: Whether the cell relaxes too, which needs a stress. For structures with
            fewer than three periodic directions, the stress is the derivative of the
            energy with respect to strain divided by the volume of the cell, and its
            components along free directions are ignored.
        strains: Allowed strains of the cell: names of
            `equipot.workflows.strain_mask.COMPONENTS`, or "hydrostatic" or "shape"; all
            by default.
        pressure: External pressure in GPa; the enthalpy is then minimized.
        keep_symmetry: Whether the space group of the initial structure is conserved.
        symmetry_tolerance: Tolerance of the symmetry search in Å.
        fmax: Convergence threshold of all forces in eV/Å. The force on the cell is the
            derivative of the energy with respect to strain, divided by the number of
            atoms and by 1 Å.
        max_steps: Largest number of steps.
        hessian_up_to: Number of atoms above which L-BFGS without a Hessian is used.
        observer: Called at the start and after each step.
        logfile: File for ASE's line per step; none by default.

    Returns:
        The result; check `Relaxation.converged`.

    Raises:
        ImportError: If `keep_symmetry` is set and spglib is not installed.
        ValueError: If the request does not fit the structure: relaxation of the cell
            without periodic directions, pressure without a volume, constraints other
            than `FixAtoms`, or strains that break the symmetry.
    """
    check_request(atoms, cell=cell, strains=strains, pressure=pressure)
    if hessian is not None:
        free_atoms(atoms)  # raises for constraints that are not supported
    moving, notes = as_start(atoms)
    target, more = target_of(
        moving,
        cell=cell,
        strains=strains,
        pressure=pressure,
        tolerance=symmetry_tolerance if keep_symmetry else None,
    )
    notes += more
    largest, drift = largest_force(target), net_force(moving)
    start_energy = float(moving.get_potential_energy())
    small = len(atoms) <= hessian_up_to
    if largest < fmax or max_steps == 0:
        method, steps = "no step", 0
        if observer is not None:
            observer(_step(0, moving, atoms, largest))
    else:
        optimizer, method = _optimizer(
            target, moving, atoms, hessian if small else None, small, cell, logfile
        )
        if observer is not None:
            optimizer.attach(
                lambda: observer(
                    _step(optimizer.nsteps, moving, atoms, largest_force(target))
                )
            )
        optimizer.run(fmax=fmax, steps=max_steps)
        steps = optimizer.get_number_of_steps()
        largest = largest_force(target)
    return Relaxation(
        atoms=as_given(moving, atoms),
        energy=float(moving.get_potential_energy()),
        start_energy=start_energy,
        max_force=largest,
        steps=steps,
        converged=largest < fmax,
        method=method,
        pressure=pressure,
        net_force=max(drift, net_force(moving)),
        notes=tuple(notes),
    )


def _optimizer(
    target: Any,
    moving: Atoms,
    atoms: Atoms,
    hessian: HessianFunction | None,
    small: bool,
    cell: bool,
    logfile: IO[str] | str | Path | None,
) -> tuple[Optimizer, str]:
    options: dict[str, Any] = {
        "logfile": logfile,
        "maxstep": longest_step(moving, cell=cell),
    }
    if hessian is None:
        if small:
            return BFGS(target, **options), "BFGS"
        return LBFGS(target, **options), "L-BFGS"
    seed = _of_free_atoms(hessian_matrix(hessian, moving), atoms)
    if cell:
        seed = _with_cell(seed, target, moving)
    return SeededBFGS(target, seed, **options), "BFGS from the Hessian"


def _step(number: int, moving: Atoms, start: Atoms, max_force: float) -> RelaxationStep:
    """State of the relaxation, with results that are not changed by constraints."""
    energy = float(moving.get_potential_energy())
    results = {"energy": energy, "forces": moving.get_forces(apply_constraint=False)}
    if moving.pbc.all() and "stress" in getattr(moving.calc, "results", {}):
        results["stress"] = moving.get_stress(apply_constraint=False)
    frame = as_given(moving, start)
    frame.calc = SinglePointCalculator(frame, **results)
    return RelaxationStep(number, energy, max_force, frame)


def _of_free_atoms(
    matrix: Float[np.ndarray, "n n"], atoms: Atoms
) -> Float[np.ndarray, "n n"]:
    """Hessian without the coupling of free and fixed atoms."""
    free = np.zeros(len(atoms), dtype=bool)
    free[free_atoms(atoms)] = True
    free = np.repeat(free, 3)
    return np.where(free[:, None] & free, matrix, np.eye(len(matrix)))


def _with_cell(
    positions: Float[np.ndarray, "n n"], target: CellFilter, moving: Atoms
) -> Float[np.ndarray, "m m"]:
    """Hessian of positions and cell, the latter by differences of forces and stress.

    Forbidden strains get a curvature of one and no coupling.
    """
    start = target.get_positions().copy()
    n = len(positions)
    step = STRAIN_STEP * target.exp_cell_factor
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
    (mask,) = (c for c in moving.constraints if isinstance(c, StrainMask))
    allowed = mask.projector
    across = np.stack(columns, axis=1)
    full = np.zeros((n + 9, n + 9))
    full[:n, :n] = positions
    full[:n, n:] = across[:n] @ allowed
    full[n:, :n] = full[:n, n:].T
    cell = (across[n:] + across[n:].T) / 2
    full[n:, n:] = allowed @ cell @ allowed + np.eye(9) - allowed
    return full
