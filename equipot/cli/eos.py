"""`equipot eos`: energy as a function of volume, and a fitted equation of state."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.calculation import (
    collected_warnings,
    explain_calculations,
    prepare_calculation,
    print_warnings,
)
from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP
from equipot.cli.options import Backend, Device
from equipot.cli.relaxing import Hessian, Progress, relaxed_first
from equipot.cli.structures import Dtype, Extrapolate, Force, Structure


class Kind(StrEnum):
    """Equations of state of ASE."""

    birchmurnaghan = "birchmurnaghan"
    sj = "sj"
    taylor = "taylor"
    murnaghan = "murnaghan"
    birch = "birch"
    pouriertarantola = "pouriertarantola"
    vinet = "vinet"
    anton_schmidt = "anton-schmidt"
    p3 = "p3"


class Relaxed(StrEnum):
    """Degrees of freedom relaxed at each volume."""

    nothing = "nothing"
    atoms = "atoms"
    shape = "shape"


@explain_errors
@explain_calculations
def eos(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structure: Structure,
    output: Annotated[Path, typer.Option(help="Output folder.")] = Path("eos"),
    kind: Annotated[
        Kind,
        typer.Option(metavar="NAME", help=f"Equation of state: {', '.join(Kind)}."),
    ] = Kind.birchmurnaghan,
    points: Annotated[int, typer.Option(help="Number of volumes.", min=5)] = 11,
    span: Annotated[
        float,
        typer.Option(help="Largest relative change of the volume: 0.06 scans ±6 %."),
    ] = 0.06,
    relaxed: Annotated[
        Relaxed,
        typer.Option(
            "--relax",
            help="Degrees of freedom relaxed at each volume; shape includes the atoms.",
        ),
    ] = Relaxed.shape,
    cell: Annotated[
        bool,
        typer.Option(
            "--cell",
            help="Relax atoms and cell first, to center the scan.",
            metavar="",
        ),
    ] = False,
    fmax: Force = 1e-3,
    hessian: Hessian = None,
    device: Device = "auto",
    dtype: Dtype = "float64",
    backend: Backend = None,
    extrapolate: Extrapolate = False,
) -> None:
    """Fit an equation of state to a scan of the volume.

    The exit status is 1 if the fitted minimum lies outside the scan.
    """
    from equipot.report.eos_page import EQUATIONS, RELAXED, summary
    from equipot.report.workflow_files import write_equation_of_state
    from equipot.workflows.equation_of_state import equation_of_state

    given = prepare_calculation(model, [structure], device, dtype, backend, extrapolate)
    atoms = given.crystal("equations of state", needs_volume=True)
    if cell:
        atoms = relaxed_first(
            atoms, given.calculator, cell=True, fmax=fmax, hessian=hessian
        )
    progress = Progress()
    with collected_warnings() as warnings:
        found = equation_of_state(
            atoms,
            None if hessian is False else given.hessian,
            kind=kind.value,
            points=points,
            span=span,
            relaxed=relaxed.value,
            fmax=fmax,
            hessian_up_to=len(atoms) if hessian else None,
            observer=lambda done, *_: progress.volume(done, points),
        )
    typer.echo(f"per cell of {found.cell.text}:")
    typer.echo("  volume/Å^3         energy/eV    pressure/GPa")
    pressures = found.pressures.tolist() or [float("nan")] * points
    for row in zip(found.volumes, found.energies, pressures, strict=True):
        typer.echo("{:12.4f}{:18.6f}{:16.4f}".format(*row))
    typer.echo(
        f"{EQUATIONS[found.kind]}; relaxed at each volume: {RELAXED[found.relaxed]}"
    )
    typer.echo(summary(found))
    print_warnings(found.doubts)
    title = atoms.get_chemical_formula(empirical=True)
    lowest = found.frames[int(found.energies.argmin())]
    made = given.made({"lowest structure of the scan": lowest})
    write_equation_of_state(output, found, title, tuple(warnings), made)
    typer.echo(f"written: {output}/report.html, eos.json, scan.xyz")
