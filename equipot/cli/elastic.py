"""`equipot elastic`: elastic constants of a crystal from second derivatives."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.structures import (
    Backend,
    Device,
    Dtype,
    Extrapolate,
    explain_calculations,
    load_calculator,
    read_structure,
)

if TYPE_CHECKING:
    import numpy as np

RELAXED = 1e-5
"""Force in eV/Å to which the crystal is relaxed first."""

MODULI = {
    "bulk_voigt": "GPa",
    "bulk_reuss": "GPa",
    "bulk_hill": "GPa",
    "shear_voigt": "GPa",
    "shear_reuss": "GPa",
    "shear_hill": "GPa",
    "young": "GPa",
    "poisson": "",
}
"""What is printed, and in which unit."""

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")


@explain_errors
@explain_calculations
def elastic(
    model: Annotated[Path, typer.Argument(help="Model, a .safetensors file.")],
    structure: Annotated[
        str, typer.Argument(help="File with the crystal, or FILE@INDEX.")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the numbers to this JSON file.")
    ] = None,
    relax_first: Annotated[
        bool, typer.Option("--relax/--no-relax", help="Relax the atoms first.")
    ] = True,
    cell: Annotated[
        bool, typer.Option("--cell", help="Relax the cell first as well.")
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "float64",
    backend: Backend = None,
    extrapolate: Extrapolate = False,
) -> None:
    """Elastic constants with relaxed ions, moduli, and stability.

    The exit status is 1 if the crystal is unstable.
    """
    from equipot.hessians import elastic_constants
    from equipot.workflows import model_hessian, relax
    from equipot.workflows.second_derivatives import model_graph

    atoms = read_structure(structure)
    atoms.calc = calculator = load_calculator(
        model, device, dtype, backend, extrapolate
    )
    if relax_first or cell:
        relaxation = relax(atoms, model_hessian(calculator), cell=cell, fmax=RELAXED)
        typer.echo(f"relaxed in {relaxation.steps} steps: {relaxation.energy:.6f} eV")
        atoms = relaxation.atoms
    constants = elastic_constants(calculator.potential, model_graph(calculator, atoms))
    moduli = constants.moduli
    _print_matrix("C / GPa, ions relaxed (Birch)", constants.birch)
    _print_matrix("C / GPa, ions clamped (Birch)", constants.clamped_birch)
    pressure = -constants.stress.trace() / 3
    typer.echo(f"pressure {pressure:z.3f} GPa")
    record = {name: getattr(moduli, name) for name in MODULI}
    for name, value in record.items():
        typer.echo(f"{name.replace('_', ' '):>16}{value:12.3f} {MODULI[name]}".rstrip())
    typer.echo("stable" if constants.stable else "UNSTABLE")
    if json_file is not None:
        from equipot.atomic_file import make_folder, write_json

        make_folder(json_file.parent)
        write_json(
            json_file,
            {
                "birch_gpa": constants.birch.tolist(),
                "brugger_gpa": constants.brugger.tolist(),
                "clamped_birch_gpa": constants.clamped_birch.tolist(),
                "stress_gpa": constants.stress.tolist(),
                "moduli": record,
                "stable": constants.stable,
            },
        )
    if not constants.stable:
        raise typer.Exit(1)


def _print_matrix(title: str, matrix: "np.ndarray") -> None:
    typer.echo(title)
    typer.echo("    " + "".join(f"{name:>10}" for name in VOIGT))
    for name, row in zip(VOIGT, matrix, strict=True):
        typer.echo(f"  {name}" + "".join(f"{x:z10.3f}" for x in row))
