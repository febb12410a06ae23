"""Relaxation by BFGS that begins with the model's own Hessian, or by L-BFGS."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, final

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, LBFGS
from ase.optimize.optimize import Optimizer
from jaxtyping import Float

from equipot.data.unlabeled import without_labels
from equipot.neighbors.cell import complete_rows
from equipot.workflows.fixed_symmetry import (
    TOLERANCE,
    fix_symmetry,
    refuse_broken_symmetry,
)
from equipot.workflows.rigid_motion import free_atoms
from equipot.workflows.second_derivatives import HessianFunction, hessian_matrix
from equipot.workflows.strain_mask import (
    StrainMask,
    allowed_strains,
    component_mask,
)

SOFTEST: Final = 1.0
"""Curvatures in eV/Å^2 are taken for at least this, so that no step runs away."""

CELL_STEP: Final = 1e-4
"""Strain for the curvature of the cell, by central differences of the stress."""

LARGE: Final = 100
"""Atoms beyond which no Hessian is computed and L-BFGS takes the place of BFGS: a
Hessian costs about three evaluations of forces for each atom, more than it saves."""

LARGEST_STEP: Final = 0.2
"""Of an atom, in Å, as in ASE."""

LARGEST_STRAIN: Final = 0.1
"""Of the cell, in one step."""


@dataclass(frozen=True)
class RelaxationStep:
    """Where a relaxation is.

    Attributes:
        number: Of steps so far.
        energy: In eV.
        max_force: Largest force in eV/Å, cell included where it relaxes.
        atoms: Copy of the structure with energy, forces and, if there is one, stress.
    """

    number: int
    energy: float
    max_force: float
    atoms: Atoms


Observer = Callable[[RelaxationStep], None]
"""Is told of the start and of each step."""


@dataclass(frozen=True)
class Relaxation:
    """What a relaxation came to.

    Attributes:
        atoms: The relaxed structure, without a calculator: all that the start carried
            but labels and momenta, which are those of another structure.
        energy: In eV, of all atoms; without the work against a pressure.
        start_energy: In eV, before the first step.
        max_force: Largest force in eV/Å, cell included where it was relaxed.
        steps: Steps taken.
        converged: Whether `max_force` is below what was asked for.
        method: How steps were chosen.
        pressure: That the cell was relaxed under, in GPa.
        net_force: Sum of the forces on all atoms by the number of atoms, in eV/Å, at
            the start or at the end, whichever is larger: zero unless the energy
            changes when all atoms move alike.
        notes: What was dropped or changed, as sentences.
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
        """Energy and the work of the volume against the pressure, in eV."""
        if self.pressure == 0:
            return self.energy
        return self.energy + self.pressure * units.GPa * self.atoms.get_volume()


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
    strains: Sequence[str] = (),
    pressure: float = 0.0,
    keep_symmetry: bool = False,
    symmetry_tolerance: float = TOLERANCE,
    fmax: float = 1e-3,
    max_steps: int = 500,
    hessian_up_to: int = LARGE,
    observer: Observer | None = None,
    logfile: IO[str] | str | Path | None = None,
) -> Relaxation:
    """Go to the nearest minimum of the energy; fixed atoms stay.

    One Hessian is computed, at the start, unless forces vanish already; BFGS improves
    it from there. A cell relaxes along its periodic directions only; fixed atoms then
    keep their place relative to the cell.

    Args:
        atoms: Start, with a calculator; left as it is.
        hessian: Second derivatives; without them, ASE's plain BFGS.
        cell: Whether the cell relaxes too; the calculator then needs a stress. That of
            a structure with fewer than three periodic directions may refer to any
            volume, as long as it is the derivative of the energy by strain, divided by
            the volume of the cell; vectors of free directions are left out of it.
        strains: What of the cell may change: names of
            `equipot.workflows.strain_mask.COMPONENTS`, or "hydrostatic" or "shape";
            all if left out.
        pressure: On the cell, in GPa; the enthalpy is then what becomes least.
        keep_symmetry: Whether the space group of the start is kept.
        symmetry_tolerance: Distance in Å within which it is looked for.
        fmax: Force in eV/Å below which all must be. That on the cell is the derivative
            of the energy by strain, by the number of atoms and Å.
        max_steps: Most steps.
        hessian_up_to: Atoms beyond which no Hessian is computed and L-BFGS is used.
        observer: Is told of the start and of each step.
        logfile: Where ASE prints a line for each step; nowhere if left out.

    Returns:
        The result; `converged` says whether it is one.

    Raises:
        ImportError: If symmetry is to be kept and spglib is not installed.
        ValueError: If what is asked for contradicts the structure: a cell without
            periodic directions, a pressure without a volume, constraints other than
            `FixAtoms`, strains that break the symmetry.
    """
    _check_request(atoms, cell=cell, strains=strains, pressure=pressure)
    if hessian is not None:
        free_atoms(atoms)  # raises where constraints cannot be respected
    moving, notes = _as_start(atoms)
    target, more = _target(
        moving,
        cell=cell,
        strains=strains,
        pressure=pressure,
        tolerance=symmetry_tolerance if keep_symmetry else None,
    )
    notes += more
    start_energy = float(moving.get_potential_energy())
    largest, drift = _largest_force(target), _net_force(moving)
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
                    _step(optimizer.nsteps, moving, atoms, _largest_force(target))
                )
            )
        optimizer.run(fmax=fmax, steps=max_steps)
        steps = optimizer.get_number_of_steps()
        largest = _largest_force(target)
    return Relaxation(
        atoms=_as_given(moving, atoms),
        energy=float(moving.get_potential_energy()),
        start_energy=start_energy,
        max_force=largest,
        steps=steps,
        converged=largest < fmax,
        method=method,
        pressure=pressure,
        net_force=max(drift, _net_force(moving)),
        notes=tuple(notes),
    )


def _check_request(
    atoms: Atoms, *, cell: bool, strains: Sequence[str], pressure: float
) -> None:
    if not cell and strains:
        raise ValueError(
            f"the strains {', '.join(strains)} may change only if the cell relaxes: "
            "ask for that too (--cell)"
        )
    if not cell and pressure != 0:
        raise ValueError(
            f"a pressure of {pressure:g} GPa acts on a cell that relaxes: ask for that "
            "too (--cell)"
        )
    if pressure != 0 and not atoms.pbc.all():
        raise ValueError(
            "a pressure acts on a volume, that is on three periodic directions, got "
            f"pbc={atoms.pbc.tolist()}"
        )
    if not np.isfinite(pressure):
        raise ValueError(f"expected a finite pressure in GPa, got {pressure}")


def _as_start(atoms: Atoms) -> tuple[Atoms, list[str]]:
    """Copy that may move, without what holds only for the start."""
    moving, notes = without_labels(atoms), []
    if moving.has("momenta"):
        if np.any(moving.get_momenta()):
            notes.append("momenta are dropped: a relaxed structure is at rest")
        moving.set_array("momenta", None)
    moving.calc = atoms.calc
    return moving, notes


def _target(
    moving: Atoms,
    *,
    cell: bool,
    strains: Sequence[str],
    pressure: float,
    tolerance: float | None,
) -> tuple[Any, list[str]]:
    """What an optimizer moves: the atoms, or the atoms and their cell."""
    projector = allowed_strains(moving, strains) if cell else None
    notes = []
    constraints = list(moving.constraints)
    if tolerance is not None:
        kept = fix_symmetry(moving, tolerance)
        if projector is not None:
            refuse_broken_symmetry(moving, kept.constraint.rotations, projector)
        constraints.append(kept.constraint)
        notes.append(
            f"space group {kept.name} is kept, {kept.operations} operations; making it "
            f"exact moved atoms by up to {kept.moved:.1e} Å"
        )
    if projector is None:
        moving.set_constraint(constraints)
        return moving, notes
    moving.set_constraint([*constraints, StrainMask(projector, pressure)])
    # Vectors of free directions mean nothing, and may be missing.
    moving.set_cell(complete_rows(moving.cell.tolist(), moving.pbc.tolist()))
    target = FrechetCellFilter(
        moving,
        mask=component_mask(projector),
        scalar_pressure=pressure * units.GPa,
    )
    try:
        target.get_forces()
    except PropertyNotImplementedError as error:
        raise ValueError(
            f"the cell cannot relax without a stress, and there is none: {error}"
        ) from error
    return target, notes


def _optimizer(
    target: Any,
    moving: Atoms,
    atoms: Atoms,
    hessian: HessianFunction | None,
    small: bool,
    cell: bool,
    logfile: IO[str] | str | Path | None,
) -> tuple[Optimizer, str]:
    options: dict[str, Any] = {"logfile": logfile, "maxstep": LARGEST_STEP}
    if cell:
        options["maxstep"] = min(LARGEST_STEP, LARGEST_STRAIN * len(moving))
    if hessian is None:
        if small:
            return BFGS(target, **options), "BFGS"
        return LBFGS(target, **options), "L-BFGS"
    seed = _of_free_atoms(hessian_matrix(hessian, moving), atoms)
    if cell:
        seed = _with_cell(seed, target, moving)
    return SeededBFGS(target, seed, **options), "BFGS from the Hessian"


def _largest_force(target: Any) -> float:
    forces = np.asarray(target.get_forces()).reshape(-1, 3)
    return float(np.linalg.norm(forces, axis=1).max())


def _net_force(atoms: Atoms) -> float:
    total = atoms.get_forces(apply_constraint=False).sum(axis=0)
    return float(np.linalg.norm(total) / len(atoms))


def _as_given(moving: Atoms, start: Atoms) -> Atoms:
    """Copy with the constraints of the start, and its vectors of free directions."""
    result = moving.copy()
    result.calc = None
    result.set_constraint([c.copy() for c in start.constraints])
    cell = result.cell.array.copy()
    cell[~start.pbc] = start.cell.array[~start.pbc]
    result.set_cell(cell)
    return result


def _step(number: int, moving: Atoms, start: Atoms, max_force: float) -> RelaxationStep:
    """Copy of where a relaxation is, with results that no constraint has touched."""
    energy = float(moving.get_potential_energy())
    results = {"energy": energy, "forces": moving.get_forces(apply_constraint=False)}
    if moving.pbc.all() and "stress" in getattr(moving.calc, "results", {}):
        results["stress"] = moving.get_stress(apply_constraint=False)
    frame = _as_given(moving, start)
    frame.calc = SinglePointCalculator(frame, **results)
    return RelaxationStep(number, energy, max_force, frame)


def _of_free_atoms(
    matrix: Float[np.ndarray, "n n"], atoms: Atoms
) -> Float[np.ndarray, "n n"]:
    """Fixed atoms do not respond, so free ones must not count on them."""
    free = np.zeros(len(atoms), dtype=bool)
    free[free_atoms(atoms)] = True
    free = np.repeat(free, 3)
    return np.where(free[:, None] & free, matrix, np.eye(len(matrix)))


def _with_cell(
    positions: Float[np.ndarray, "n n"], target: FrechetCellFilter, moving: Atoms
) -> Float[np.ndarray, "m m"]:
    """Hessian of positions, and of the cell by differences of forces and stress.

    Strains that are not allowed get a curvature of one and no coupling.
    """
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
