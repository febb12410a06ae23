"""`equipot phonons`: bands, states and heat of a crystal, by phonopy."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.structures import (
    Backend,
    Device,
    Dtype,
    Extrapolate,
    collected_warnings,
    explain_calculations,
    load_calculator,
    read_structure,
)

RELAXED = 1e-4
"""Force in eV/Å to which the crystal is relaxed first."""


class Method(StrEnum):
    """Where force constants come from."""

    auto = "auto"
    derivatives = "derivatives"
    displacements = "displacements"


@explain_errors
@explain_calculations
def phonons(
    model: Annotated[Path, typer.Argument(help="Model, a .safetensors file.")],
    structure: Annotated[
        str, typer.Argument(help="File with the unit cell, or FILE@INDEX.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for all files.")] = Path(
        "phonons"
    ),
    supercell: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="Copies along each lattice vector; enough for a sphere of the cutoff "
            "if left out."
        ),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="Of force constants; auto takes the cheaper one.")
    ] = Method.auto,
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
    """Phonon bands, density of states and thermal properties of a crystal."""
    from equipot.report.phonon_page import stability
    from equipot.report.workflow_files import write_phonons
    from equipot.workflows import model_hessian, model_products, relax
    from equipot.workflows.phonons import force_constants, supercell_around
    from equipot.workflows.phonons import phonons as lattice_dynamics
    from equipot.workflows.second_derivatives import difference_step, interaction_range

    atoms = read_structure(structure)
    atoms.calc = calculator = load_calculator(
        model, device, dtype, backend, extrapolate
    )
    if relax_first or cell:
        relaxation = relax(atoms, model_hessian(calculator), cell=cell, fmax=RELAXED)
        typer.echo(f"relaxed in {relaxation.steps} steps: {relaxation.energy:.6f} eV")
        atoms = relaxation.atoms
        atoms.calc = calculator
    copies = supercell or supercell_around(atoms, calculator.potential.cutoff)
    with collected_warnings() as warnings:
        constants = force_constants(
            atoms,
            copies,
            model_products(calculator),
            method=method.value,
            distance=difference_step(calculator),
            interaction_range=interaction_range(calculator),
        )
    typer.echo(
        f"supercell {'x'.join(map(str, copies))}, "
        f"{len(constants.phonopy.supercell)} atoms; force constants by "
        f"{constants.evaluations} {constants.method}; "
        f"sum rule {constants.sum_rule:.1e} eV/Å^2"
    )
    result = lattice_dynamics(constants)
    typer.echo(stability(result))
    typer.echo("     T/K   free energy/eV   entropy/meV/K   heat capacity/meV/K")
    for n in range(0, len(result.temperatures), 10):
        typer.echo(
            f"{result.temperatures[n]:8.0f}{result.free_energy[n]:17.6f}"
            f"{1000 * result.entropy[n]:16.5f}{1000 * result.heat_capacity[n]:22.5f}"
        )
    title = atoms.get_chemical_formula(empirical=True)
    write_phonons(output, result, title, tuple(warnings))
    typer.echo(f"written: {output}/report.html, phonons.json, phonopy_params.yaml")
