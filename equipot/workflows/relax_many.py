"""Relaxation of many structures at once, by L-BFGS or FIRE."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from equipot.calculators import BatchCalculator
from equipot.calculators.batch import naming_structure
from equipot.data.batching import evaluation_batches
from equipot.workflows.batched_optimizers import OPTIMIZERS, BatchedOptimizer
from equipot.workflows.fixed_symmetry import SYMMETRY_TOLERANCE_A
from equipot.workflows.ragged_rows import Rows
from equipot.workflows.relax import Relaxation
from equipot.workflows.relaxation_target import (
    as_given,
    as_start,
    check_request,
    largest_force,
    longest_step,
    net_force,
    target_of,
)
from equipot.workflows.served_results import ServedResults
from equipot.workflows.together import evaluate_together

MAX_STRUCTURES: Final = 256
"""Largest number of structures that relax at the same time."""

MAX_ATOMS: Final = 20_000
"""Largest number of their atoms, of whose steps L-BFGS keeps the history: 100 MB."""

Observer = Callable[[int, int], None]
"""Called after each step with the numbers of finished and of all structures."""


@dataclass
class _Relaxing:
    """One structure of a group."""

    number: int
    start: Atoms
    moving: Atoms
    target: Any
    results: ServedResults
    notes: tuple[str, ...]
    longest_step: float
    start_energy: float = 0.0
    start_net_force: float = 0.0
    max_force: float = np.inf
    steps: int = 0


def relax_many(
    structures: Sequence[Atoms],
    calculator: BatchCalculator | Calculator,
    *,
    method: str = "L-BFGS",
    cell: bool = False,
    strains: Sequence[str] = (),
    pressure: float = 0.0,
    keep_symmetry: bool = False,
    symmetry_tolerance: float = SYMMETRY_TOLERANCE_A,
    fmax: float = 1e-3,
    max_steps: int = 500,
    observer: Observer | None = None,
) -> list[Relaxation]:
    """Relax structures to local minima of the energy, with few evaluations.

    In each step, all structures that are not converged are evaluated together. Each has
    an optimizer state of its own: its steps are those of the optimizer of ASE, and do
    not depend on the others.

    Args:
        structures: Initial structures, whose calculators are not used; not changed.
        calculator: Calculator of all structures; any calculator of ASE, but only a
            `BatchCalculator` evaluates them together.
        method: "L-BFGS", or "FIRE", which needs more steps but is more robust far from
            a minimum.
        cell: As in `relax`, for all structures.
        strains: As in `relax`.
        pressure: As in `relax`.
        keep_symmetry: As in `relax`.
        symmetry_tolerance: As in `relax`.
        fmax: As in `relax`.
        max_steps: Largest number of steps of each structure.
        observer: Called after each step.

    Returns:
        The results, in the order of `structures`; check `Relaxation.converged`.

    Raises:
        ImportError: As in `relax`.
        ValueError: As in `relax`, or if a structure has no atoms or the method is
            unknown; the message contains the number of the structure.
        ExtrapolationError: As in `EquipotCalculator.evaluate`.
    """
    if method not in OPTIMIZERS:
        raise ValueError(
            f"unknown method {method!r}: expected one of {', '.join(OPTIMIZERS)}"
        )
    done: list[Relaxation] = []
    atoms_of = [len(atoms) for atoms in structures]
    for numbers in evaluation_batches(atoms_of, MAX_STRUCTURES, MAX_ATOMS):
        group = []
        for number in numbers:
            with naming_structure(number):
                start = structures[number]
                _check(start, cell=cell, strains=strains, pressure=pressure)
                group.append(
                    _relaxing(
                        number,
                        start,
                        cell=cell,
                        strains=strains,
                        pressure=pressure,
                        tolerance=symmetry_tolerance if keep_symmetry else None,
                    )
                )
        counter = None
        if observer is not None:
            begun = len(done) + len(group)
            counter = partial(_report, observer, begun, len(structures))
        _relax(group, calculator, OPTIMIZERS[method], fmax, max_steps, counter)
        done += [_result(member, method, pressure, fmax) for member in group]
    return done


def _check(
    atoms: Atoms, *, cell: bool, strains: Sequence[str], pressure: float
) -> None:
    if not len(atoms):
        raise ValueError("expected at least one atom to relax, got none")
    check_request(atoms, cell=cell, strains=strains, pressure=pressure)


def _relaxing(number: int, start: Atoms, *, cell: bool, **options: Any) -> _Relaxing:
    moving, notes = as_start(start)
    target, more = target_of(moving, cell=cell, **options)
    moving.calc = ServedResults()
    return _Relaxing(
        number,
        start,
        moving,
        target,
        moving.calc,
        (*notes, *more),
        longest_step(moving, cell=cell),
    )


def _relax(
    group: Sequence[_Relaxing],
    calculator: BatchCalculator | Calculator,
    make: type[BatchedOptimizer],
    fmax: float,
    max_steps: int,
    counter: Callable[[int], None] | None,
) -> None:
    """Move all structures of a group until each is converged."""
    _evaluate(group, calculator)
    for member in group:
        member.start_energy = float(member.moving.get_potential_energy())
        member.start_net_force = net_force(member.moving)
        with naming_structure(member.number):
            member.max_force = largest_force(member.target)
    active = [member for member in group if member.max_force >= fmax]
    forces = _forces(active)
    optimizer = make(
        np.array([len(part) for part in forces], dtype=int),
        np.array([member.longest_step for member in active]),
    )
    for _ in range(max_steps):
        if not active:
            break
        positions = [np.asarray(m.target.get_positions()) for m in active]
        steps = optimizer.step(np.concatenate(positions), np.concatenate(forces))
        ends = np.cumsum(optimizer.rows.counts)[:-1]
        for member, before, step in zip(
            active, positions, np.split(steps, ends), strict=True
        ):
            member.target.set_positions(before + step)
            member.steps += 1
        _evaluate(active, calculator)
        forces = _forces(active)
        keep = optimizer.rows.longest(np.concatenate(forces)) >= fmax
        if not keep.all():
            optimizer.keep(keep)
            active = [member for member, kept in zip(active, keep, strict=True) if kept]
            forces = [part for part, kept in zip(forces, keep, strict=True) if kept]
        if counter is not None:
            counter(len(active))


def _report(observer: Observer, begun: int, total: int, active: int) -> None:
    observer(begun - active, total)


def _evaluate(
    members: Sequence[_Relaxing], calculator: BatchCalculator | Calculator
) -> None:
    found = evaluate_together(
        [member.moving for member in members],
        calculator,
        ("energy", "forces", "stress"),
        [member.number for member in members],
    )
    for member, results in zip(members, found, strict=True):
        member.results.serve(member.moving, results)


def _forces(members: Sequence[_Relaxing]) -> list[Rows]:
    """Forces on atoms and cells, after the effects of constraints."""
    return [np.asarray(member.target.get_forces()) for member in members]


def _result(member: _Relaxing, method: str, pressure: float, fmax: float) -> Relaxation:
    largest = largest_force(member.target)
    return Relaxation(
        atoms=as_given(member.moving, member.start),
        energy=float(member.moving.get_potential_energy()),
        start_energy=member.start_energy,
        max_force=largest,
        steps=member.steps,
        converged=largest < fmax,
        method=method if member.steps else "no step",
        pressure=pressure,
        net_force=max(member.start_net_force, net_force(member.moving)),
        notes=member.notes,
    )
