"""`equipot elastic`: elastic constants of a crystal from second derivatives."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP
from equipot.cli.relaxing import Hessian, relaxed_first
from equipot.cli.structures import (
    Backend,
    Device,
    Dtype,
    Extrapolate,
    asked_committee,
    explain_calculations,
    load_calculator,
    origin_of,
    read_structure,
)

if TYPE_CHECKING:
    import numpy as np

    from equipot.hessians import ElasticConstants
    from equipot.workflows.standard_axes import StandardAxes

RELAXED_FORCE = 1e-5
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
"""Printed moduli and their units."""

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")


@explain_errors
@explain_calculations
def elastic(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structure: Annotated[str, typer.Argument(help="Structure file, or FILE@INDEX.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the results to this JSON file.")
    ] = None,
    relax_first: Annotated[
        bool, typer.Option("--relax/--no-relax", help="Relax the atoms first.")
    ] = True,
    cell: Annotated[
        bool, typer.Option("--cell", help="Relax the cell first, too.")
    ] = False,
    hessian: Hessian = None,
    device: Device = "auto",
    dtype: Dtype = "float64",
    backend: Backend = None,
    extrapolate: Extrapolate = False,
) -> None:
    """Relaxed-ion elastic constants, elastic moduli, mechanical stability.

    The exit status is 1 if the crystal is unstable, or if the energy is not invariant
    under translation.
    """
    from equipot.hessians import elastic_constants
    from equipot.workflows.crystal import check_crystal
    from equipot.workflows.per_what import contents
    from equipot.workflows.second_derivatives import model_graph
    from equipot.workflows.standard_axes import standard_axes

    atoms = read_structure(structure)
    calculator = load_calculator(model, device, dtype, backend, extrapolate)
    origin = origin_of(calculator, structure)
    cutoff = calculator.potential.cutoff
    check_crystal(atoms, "elastic constants", cutoff=cutoff, needs_volume=True)
    atoms.calc = calculator
    if relax_first or cell:
        atoms = relaxed_first(
            atoms, calculator, cell=cell, fmax=RELAXED_FORCE, hessian=hessian
        )
    constants = elastic_constants(calculator.potential, model_graph(calculator, atoms))
    axes = standard_axes(atoms)
    _print_constants(constants, axes)
    record = _moduli(constants)
    for name, value in record.items():
        typer.echo(f"{name.replace('_', ' '):>16}{value:12.3f} {MODULI[name]}".rstrip())
    typer.echo("stable" if constants.stable else "UNSTABLE")
    if not constants.invariant:
        typer.secho(f"warning: {_drifts(constants)}", fg="yellow", err=True)
    made = asked_committee(origin, calculator, {"crystal": atoms})
    if json_file is not None:
        from equipot.storage.atomic_file import make_folder, write_json

        make_folder(json_file.parent)
        held = contents(atoms.get_chemical_symbols())
        write_json(
            json_file,
            {
                "cell": {
                    **held.record(),
                    "volume_cubic_angstrom": float(atoms.get_volume()),
                    "vectors_angstrom": atoms.cell.array.tolist(),
                },
                "axes": "Cartesian axes of the structure",
                "birch_gpa": constants.birch.tolist(),
                "brugger_gpa": constants.brugger.tolist(),
                "clamped_birch_gpa": constants.clamped_birch.tolist(),
                "stress_gpa": constants.stress.tolist(),
                "standard_axes": _in_standard_axes(constants, axes),
                "moduli": {
                    # JSON has no NaN; averages of an unstable crystal can be that
                    name: value if math.isfinite(value) else None
                    for name, value in record.items()
                },
                "stable": constants.stable,
                "translation_ev_per_square_angstrom": constants.translation,
                "translations_cost_nothing": constants.invariant,
                **made.record(),
            },
        )
    if not (constants.stable and constants.invariant):
        raise typer.Exit(1)


def _moduli(constants: "ElasticConstants") -> dict[str, float]:
    return {name: getattr(constants.moduli, name) for name in MODULI}


def _in_standard_axes(
    constants: "ElasticConstants", axes: "StandardAxes | None"
) -> dict[str, Any] | None:
    from equipot.hessians import turned_stiffness

    if axes is None:
        return None
    return {
        "space_group": axes.space_group,
        "rotation": axes.rotation.tolist(),
        "birch_gpa": turned_stiffness(constants.birch, axes.rotation).tolist(),
    }


def _drifts(constants: "ElasticConstants") -> str:
    return (
        "moving all atoms alike by 1 Å gives forces of "
        f"{constants.translation:.2g} eV/Å, expected 0: the energy depends on where "
        "the crystal is, and these constants mean nothing; see `equipot verify`"
    )


def _print_constants(
    constants: "ElasticConstants", axes: "StandardAxes | None"
) -> None:
    from equipot.hessians import turned_stiffness

    typer.echo("in Cartesian axes of the structure:")
    _print_matrix("C / GPa, ions relaxed (Birch)", constants.birch)
    _print_matrix("C / GPa, ions clamped (Birch)", constants.clamped_birch)
    if axes is None:
        typer.echo(
            "standard axes are unknown: spglib finds no symmetry or is not installed "
            "(pip install spglib)"
        )
    elif not axes.aligned:
        typer.echo(f"in standard axes of space group {axes.space_group}:")
        _print_matrix(
            "C / GPa, ions relaxed (Birch)",
            turned_stiffness(constants.birch, axes.rotation),
        )
    pressure = -constants.stress.trace() / 3
    typer.echo(f"pressure {pressure:z.3f} GPa")


def _print_matrix(title: str, matrix: "np.ndarray") -> None:
    typer.echo(title)
    typer.echo("    " + "".join(f"{name:>10}" for name in VOIGT))
    for name, row in zip(VOIGT, matrix, strict=True):
        typer.echo(f"  {name}" + "".join(f"{x:z10.3f}" for x in row))
