"""`equipot elastic`: elastic constants of a crystal from second derivatives."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipot.cli.calculation import (
    explain_calculations,
    prepare_calculation,
    print_warnings,
)
from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP
from equipot.cli.options import Backend, Device, flag
from equipot.cli.relaxing import Hessian, relaxed_first
from equipot.cli.structures import Dtype, Extrapolate, Structure

if TYPE_CHECKING:
    import numpy as np

    from equipot.hessians import ElasticConstants
    from equipot.workflows.standard_axes import StandardAxes

RELAXED_FORCE = 1e-5
"""Force in eV/Å to which the crystal is relaxed first."""

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")


@explain_errors
@explain_calculations
def elastic(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structure: Structure,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the results to this JSON file.")
    ] = None,
    relax_first: Annotated[
        bool, flag("--relax/--no-relax", help="Relax the atoms first.")
    ] = True,
    cell: Annotated[bool, flag("--cell", help="Relax atoms and cell first.")] = False,
    hessian: Hessian = None,
    device: Device = "auto",
    dtype: Dtype = "float64",
    backend: Backend = None,
    extrapolate: Extrapolate = False,
) -> None:
    """Compute relaxed-ion elastic constants and moduli, and mechanical stability.

    The exit status is 1 if the crystal is mechanically unstable, or if the energy is
    not invariant under translation.
    """
    from equipot.hessians import elastic_constants
    from equipot.report.workflow_files import write_elastic
    from equipot.workflows.second_derivatives import model_graph
    from equipot.workflows.standard_axes import standard_axes

    given = prepare_calculation(model, [structure], device, dtype, backend, extrapolate)
    atoms = given.crystal("elastic constants", needs_volume=True)
    calculator = given.calculator
    if relax_first or cell:
        atoms = relaxed_first(
            atoms, calculator, cell=cell, fmax=RELAXED_FORCE, hessian=hessian
        )
    constants = elastic_constants(calculator.potential, model_graph(calculator, atoms))
    axes = standard_axes(atoms)
    _print_constants(constants, axes)
    for name, value in constants.moduli.averages.items():
        unit = "" if name == "poisson" else "GPa"
        typer.echo(f"{_modulus(name):>24}{value:12.3f} {unit}".rstrip())
    stable = "mechanically stable: C and the Hessian of the ions are positive definite"
    unstable = "UNSTABLE: C or the Hessian of the ions is not positive definite"
    typer.echo(stable if constants.stable else unstable)
    if not constants.invariant:
        print_warnings([_drifts(constants)])
    made = given.made({"crystal": atoms})
    if json_file is not None:
        write_elastic(json_file, constants, atoms, axes, made)
    if not (constants.stable and constants.invariant):
        raise typer.Exit(1)


def _modulus(name: str) -> str:
    """Such as ``bulk modulus (Hill)`` for ``bulk_hill``."""
    if name == "poisson":
        return "Poisson's ratio"
    if name == "young":
        return "Young's modulus"
    modulus, _, average = name.partition("_")
    return f"{modulus} modulus ({average.capitalize()})"


def _drifts(constants: "ElasticConstants") -> str:
    return (
        "a translation of the crystal by 1 Å gives forces of "
        f"{constants.translation:.2g} eV/Å, expected 0: the energy is not invariant "
        "under translation; do not use these constants, and run `equipot verify`"
    )


def _print_constants(
    constants: "ElasticConstants", axes: "StandardAxes | None"
) -> None:
    from equipot.hessians import turned_stiffness

    typer.echo("in Cartesian axes of the structure:")
    _print_matrix("C / GPa, relaxed-ion (Birch)", constants.birch)
    _print_matrix("C / GPa, clamped-ion (Birch)", constants.clamped_birch)
    if axes is None:
        typer.echo(
            "standard axes are unknown: spglib finds no symmetry or is not installed "
            "(pip install spglib)"
        )
    elif not axes.aligned:
        typer.echo(f"in standard axes of space group {axes.space_group}:")
        _print_matrix(
            "C / GPa, relaxed-ion (Birch)",
            turned_stiffness(constants.birch, axes.rotation),
        )
    pressure = -constants.stress.trace() / 3
    typer.echo(f"pressure {pressure:z.3f} GPa")


def _print_matrix(title: str, matrix: "np.ndarray") -> None:
    typer.echo(title)
    typer.echo("    " + "".join(f"{name:>10}" for name in VOIGT))
    for name, row in zip(VOIGT, matrix, strict=True):
        typer.echo(f"  {name}" + "".join(f"{x:z10.3f}" for x in row))
