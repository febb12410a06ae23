"""`equipot relax`: to the nearest minimum, with the model's Hessian as first guess."""

from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.structures import (
    Backend,
    Device,
    Dtype,
    Extrapolate,
    Force,
    explain_calculations,
    load_calculator,
    read_structure,
)


@explain_errors
@explain_calculations
def relax(
    model: Annotated[Path, typer.Argument(help="Model, a .safetensors file.")],
    structure: Annotated[
        str, typer.Argument(help="File with the structure, or FILE@INDEX.")
    ],
    output: Annotated[
        Path, typer.Option(help="File for the relaxed structure, extended XYZ.")
    ] = Path("relaxed.xyz"),
    cell: Annotated[
        bool, typer.Option("--cell", help="Relax the cell of a crystal as well.")
    ] = False,
    fmax: Force = 1e-3,
    max_steps: Annotated[int, typer.Option(help="Most steps.", min=0)] = 500,
    device: Device = "auto",
    dtype: Dtype = "float64",
    backend: Backend = None,
    extrapolate: Extrapolate = False,
) -> None:
    """Relax a structure by BFGS that starts from the model's Hessian.

    The exit status is 1 if forces are still larger than asked for.
    """
    from equipot.report.workflow_files import write_relaxation
    from equipot.workflows import model_hessian
    from equipot.workflows import relax as run

    atoms = read_structure(structure)
    atoms.calc = calculator = load_calculator(
        model, device, dtype, backend, extrapolate
    )
    result = run(
        atoms, model_hessian(calculator), cell=cell, fmax=fmax, max_steps=max_steps
    )
    write_relaxation(output, result)
    typer.echo(
        f"{result.steps} steps, energy {result.start_energy:.6f} -> "
        f"{result.energy:.6f} eV, largest force {result.max_force:.2g} eV/Å"
    )
    if cell:
        lengths = " ".join(f"{x:.4f}" for x in result.atoms.cell.lengths())
        angles = " ".join(f"{x:.2f}" for x in result.atoms.cell.angles())
        typer.echo(f"cell {lengths} Å, {angles} degrees")
    typer.echo(f"written: {output}")
    if not result.converged:
        typer.secho(
            f"not converged to {fmax:g} eV/Å: allow more with --max-steps",
            fg="red",
            err=True,
        )
        raise typer.Exit(1)
