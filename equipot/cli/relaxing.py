"""Relaxation with progress output, shared by the commands."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from warnings import warn

import typer

from equipot.cli.calculation import print_warnings

if TYPE_CHECKING:
    from ase import Atoms

    from equipot.calculators import EquipotCalculator
    from equipot.storage.provenance import Origin
    from equipot.workflows import Relaxation
    from equipot.workflows.relax import RelaxationStep

PROGRESS_INTERVAL_SECONDS = 3.0
"""Between two lines of progress."""

ATOMS_OF_SLOW_HESSIAN = 50
"""Number of atoms above which the start of a Hessian is printed."""

MAX_NET_FORCE = 1e-4
"""Net force per atom in eV/Å above which translational invariance is broken."""

Hessian = Annotated[
    bool | None,
    typer.Option(
        "--hessian/--no-hessian",
        help="Start the relaxation from the exact Hessian (BFGS), or not (L-BFGS).",
        show_default="--hessian up to 100 atoms",
        metavar="",
    ),
]


class Progress:
    """Progress lines on standard error, one every few seconds at most."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()

    def hessian(self, done: int, of: int) -> None:
        """Print the progress of a Hessian."""
        if done == 0:
            self._start = time.monotonic()
            if of > ATOMS_OF_SLOW_HESSIAN:
                self._say(f"Hessian of {of} atoms: {3 * of} derivatives of the forces")
        elapsed = time.monotonic() - self._start
        if 0 < done < of and self._due():
            left = elapsed * (of - done) / done
            self._say(f"Hessian: {done} of {of} atoms, about {left:.0f} s left")

    def step(self, step: "RelaxationStep") -> None:
        """Print the progress of a relaxation."""
        if self._due():
            self._say(
                f"step {step.number}: energy {step.energy:.6f} eV, largest force "
                f"{step.max_force:.2g} eV/Å"
            )

    def volume(self, done: int, of: int) -> None:
        """Print the progress of a volume scan."""
        if self._due():
            self._say(f"{done} of {of} volumes")

    def structures(self, done: int, of: int) -> None:
        """Print the progress of the relaxation of many structures."""
        if self._due():
            self._say(f"{done} of {of} structures")

    def _due(self) -> bool:
        return time.monotonic() - self._last >= PROGRESS_INTERVAL_SECONDS

    def _say(self, text: str) -> None:
        self._last = time.monotonic()
        typer.secho(text, dim=True, err=True)


def run_relaxation(
    atoms: "Atoms",
    calculator: "EquipotCalculator",
    *,
    hessian: bool | None,
    trajectory: Path | None = None,
    origin: "Origin | None" = None,
    **options: Any,
) -> "Relaxation":
    """Relax a structure and print the progress.

    Args:
        atoms: Start.
        calculator: Of the model.
        hessian: Whether to start from the exact Hessian (default: for few atoms).
        trajectory: File for all steps, extended XYZ.
        origin: Provenance.
        options: Of `equipot.workflows.relax`.
    """
    from equipot.workflows import model_hessian, relax

    progress = Progress()
    write = None if trajectory is None else _Trajectory(trajectory, origin)

    def observe(step: "RelaxationStep") -> None:
        progress.step(step)
        if write is not None:
            write(step)

    if hessian:
        options["hessian_up_to"] = len(atoms)
    second = None if hessian is False else model_hessian(calculator, progress.hessian)
    start = atoms.copy()
    start.calc = calculator
    result = relax(start, second, observer=observe, **options)
    for note in result.notes:
        typer.secho(f"note: {note}", dim=True, err=True)
    if result.net_force > MAX_NET_FORCE:
        print_warnings([_drifts(result)])
    return result


def run_relaxations(
    structures: "Sequence[Atoms]", calculator: "EquipotCalculator", **options: Any
) -> "list[Relaxation]":
    """Relax structures together and print the progress and a line for each.

    Args:
        structures: Starts.
        calculator: Of the model.
        options: Of `equipot.workflows.relax_many`.
    """
    from equipot.workflows import relax_many

    found = relax_many(
        structures, calculator, observer=Progress().structures, **options
    )
    for number, result in enumerate(found):
        for note in result.notes:
            typer.secho(f"note: structure {number}: {note}", dim=True, err=True)
        if result.net_force > MAX_NET_FORCE:
            print_warnings([f"structure {number}: {_drifts(result)}"])
    return found


def relaxed_first(
    atoms: "Atoms",
    calculator: "EquipotCalculator",
    *,
    cell: bool = False,
    fmax: float,
    hessian: bool | None = None,
    required: bool = True,
) -> "Atoms":
    """Relax a structure before its properties are computed, and print the energy.

    Args:
        atoms: Start.
        calculator: Of the model.
        cell: Whether to relax the cell, too.
        fmax: Force in eV/Å to relax to.
        hessian: See `run_relaxation`.
        required: Whether to raise if the force is not reached, instead of a warning.

    Raises:
        ValueError: If the relaxation is required and does not converge.
    """
    from equipot.workflows.reference_amount import reference_amount

    result = run_relaxation(atoms, calculator, hessian=hessian, cell=cell, fmax=fmax)
    if required and not result.converged:
        raise ValueError(
            f"the relaxation did not converge in {result.steps} steps: largest force "
            f"{result.max_force:.2g} eV/Å, expected less than {fmax:g} eV/Å; relax the "
            "structure with `equipot relax` first, or use --no-relax"
        )
    typer.echo(
        f"relaxed in {result.steps} steps: {result.energy:.6f} eV "
        f"{reference_amount(atoms)}"
    )
    if not result.converged:
        warn(
            f"the relaxation did not converge in {result.steps} steps: largest force "
            f"{result.max_force:.2g} eV/Å, expected less than {fmax:g} eV/Å",
            stacklevel=2,
        )
    relaxed = result.atoms
    relaxed.calc = calculator
    return relaxed


def _drifts(result: "Relaxation") -> str:
    return (
        f"the net force is {result.net_force:.2g} eV/Å per atom, expected 0: the "
        "energy is not invariant under translation, and the structure is no minimum; "
        "run `equipot verify`"
    )


class _Trajectory:
    """Extended XYZ file, extended by one frame per step."""

    def __init__(self, path: Path, origin: "Origin | None") -> None:
        if path.suffix.lower() not in {".xyz", ".extxyz"}:
            raise ValueError(
                f"a trajectory is extended XYZ: expected a name that ends in .xyz or "
                f".extxyz, got {path}"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._facts = {} if origin is None else origin.info()
        self._begun = False

    def __call__(self, step: "RelaxationStep") -> None:
        from equipot.storage.atomic_file import append_whole, write_atomically
        from equipot.storage.frame_file import extxyz
        from equipot.storage.provenance import stamp

        frame = step.atoms
        frame.info["step"] = step.number
        stamp(frame.info, self._facts)
        content = extxyz(frame)
        if self._begun:
            append_whole(self._path, content)
        else:
            write_atomically(self._path, content)
            self._begun = True
