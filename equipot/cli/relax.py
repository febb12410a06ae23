"""`equipot relax`: geometry optimization with an exact initial Hessian."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipot.cli.calculation import explain_calculations, prepare_calculation
from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP
from equipot.cli.options import Backend, Device, counted, flag
from equipot.cli.relaxing import Hessian, run_relaxation, run_relaxations
from equipot.cli.structures import Dtype, Extrapolate, Force, names_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from equipot.workflows import Relaxation


@explain_errors
@explain_calculations
def relax(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structure: Annotated[
        str,
        typer.Argument(
            help="Structure file in a format of ASE. FILE@INDEX selects a frame, "
            "counted from 0; the last one is the default. FILE@: relaxes all frames."
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="Output file of the relaxed structure, extended XYZ.")
    ] = Path("relaxed.xyz"),
    cell: Annotated[
        bool,
        flag("--cell", help="Relax the cell, too, along its periodic directions."),
    ] = False,
    cell_mask: Annotated[
        str | None,
        typer.Option(
            help="Strain components that --cell relaxes: a list such as xx,yy,xy in "
            "Cartesian axes; hydrostatic; or shape (constant volume).",
            show_default="all",
        ),
    ] = None,
    pressure: Annotated[
        float, typer.Option(help="External pressure in GPa; requires --cell.")
    ] = 0.0,
    fix_symmetry: Annotated[
        bool, flag("--fix-symmetry", help="Preserve the space group.")
    ] = False,
    symmetry_tolerance: Annotated[
        float, typer.Option(help="Distance tolerance of --fix-symmetry in Å.", min=1e-6)
    ] = 0.01,
    trajectory: Annotated[
        Path | None,
        typer.Option(help="Output file of all steps with forces, extended XYZ."),
    ] = None,
    fmax: Force = 1e-3,
    max_steps: Annotated[
        int, typer.Option(help="Maximum number of steps.", min=0)
    ] = 500,
    hessian: Hessian = None,
    device: Device = "auto",
    dtype: Dtype = "float64",
    backend: Backend = None,
    extrapolate: Extrapolate = False,
) -> None:
    """Relax a structure by BFGS that starts from the exact Hessian.

    Structures of more than 100 atoms are relaxed by L-BFGS, unless --hessian is given.
    All frames of a file (FILE@:) are relaxed together by L-BFGS, which is faster than
    one by one. The exit status is 1 if a relaxation does not converge.
    """
    from equipot.report.workflow_files import write_relaxation, write_relaxations

    _check_files(structure, output, trajectory)
    several = names_all(structure)
    if several and (trajectory is not None or hessian):
        raise ValueError(
            "--trajectory and --hessian are for one structure: name a frame with "
            f"FILE@INDEX instead of {structure}, or leave them out"
        )
    strains = [] if cell_mask is None else cell_mask.replace(",", " ").split()
    if cell_mask is not None and not strains:
        raise ValueError("--cell-mask expects names such as xx,yy,xy, got none")
    options = {
        "cell": cell,
        "strains": strains,
        "pressure": pressure,
        "keep_symmetry": fix_symmetry,
        "symmetry_tolerance": symmetry_tolerance,
        "fmax": fmax,
        "max_steps": max_steps,
    }
    if several:
        given = prepare_calculation(
            model, [structure], device, dtype, backend, extrapolate, several=True
        )
        results = run_relaxations(given.structures, given.calculator, **options)
        _print_all(results)
        write_relaxations(output, results, given.made(_numbered(results)))
        typer.echo(f"written: {output}")
        _refuse_unfinished(results, fmax)
        return
    given = prepare_calculation(model, [structure], device, dtype, backend, extrapolate)
    result = run_relaxation(
        given.atoms,
        given.calculator,
        hessian=hessian,
        trajectory=trajectory,
        origin=given.origin,
        **options,
    )
    _print(result, cell=cell)
    made = given.made({"relaxed structure": result.atoms})
    write_relaxation(output, result, made)
    written = [output] if trajectory is None else [output, trajectory]
    typer.echo(f"written: {', '.join(map(str, written))}")
    if not result.converged:
        typer.secho(
            f"not converged: largest force {result.max_force:.2g} eV/Å, expected less "
            f"than {fmax:g} eV/Å; increase --max-steps",
            fg="red",
            err=True,
        )
        raise typer.Exit(1)


def _print(result: "Relaxation", *, cell: bool) -> None:
    from equipot.workflows.reference_amount import reference_amount

    what = reference_amount(result.atoms)
    typer.echo(
        f"{counted(result.steps, 'step')}, energy {result.start_energy:.6f} -> "
        f"{result.energy:.6f} eV {what}, largest force {result.max_force:.2g} eV/Å"
    )
    if result.steps:
        typer.echo(f"method: {result.method}")
    if result.pressure:
        typer.echo(
            f"at {result.pressure:g} GPa: enthalpy {result.enthalpy:.6f} eV {what}"
        )
    if cell:
        lengths = " ".join(f"{x:.4f}" for x in result.atoms.cell.lengths())
        angles = " ".join(f"{x:.2f}" for x in result.atoms.cell.angles())
        typer.echo(f"cell {lengths} Å, {angles} degrees")


def _numbered(results: "Sequence[Relaxation]") -> "dict[str, Atoms]":
    return {f"structure {n}": result.atoms for n, result in enumerate(results)}


def _print_all(results: "Sequence[Relaxation]") -> None:
    for number, result in enumerate(results):
        typer.echo(
            f"structure {number} ({result.atoms.get_chemical_formula()}): "
            f"{counted(result.steps, 'step')}, energy {result.start_energy:.6f} -> "
            f"{result.energy:.6f} eV, largest force {result.max_force:.2g} eV/Å"
        )


def _refuse_unfinished(results: "Sequence[Relaxation]", fmax: float) -> None:
    left = [str(n) for n, result in enumerate(results) if not result.converged]
    if left:
        typer.secho(
            f"not converged to {fmax:g} eV/Å: {counted(len(left), 'structure')} of "
            f"{len(results)}, number {', '.join(left)}; increase --max-steps",
            fg="red",
            err=True,
        )
        raise typer.Exit(1)


def _check_files(structure: str, output: Path, trajectory: Path | None) -> None:
    if output.suffix.lower() not in {".xyz", ".extxyz"}:
        raise ValueError(
            "the relaxed structure is written as extended XYZ: expected an --output "
            f"that ends in .xyz or .extxyz, got {output}"
        )
    start = (Path(structure), Path(structure.rpartition("@")[0] or structure))
    if output.resolve() == start[1].resolve() != start[0].resolve():
        raise ValueError(
            f"--output {output} would replace the file of which {structure} is one "
            "frame; name another"
        )
    if trajectory is None:
        return
    others = (output, *start)
    if any(trajectory.resolve() == other.resolve() for other in others):
        raise ValueError(
            f"--trajectory {trajectory} is also the structure or the output: give it "
            "a file of its own"
        )
