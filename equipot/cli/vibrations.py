"""`equipot vibrations`: normal modes and thermochemistry of a molecule."""

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
"""Force in eV/Å to which the structure is relaxed first."""


@explain_errors
@explain_calculations
def vibrations(
    model: Annotated[Path, typer.Argument(help="Model, a .safetensors file.")],
    structure: Annotated[
        str, typer.Argument(help="File with the structure, or FILE@INDEX.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for all files.")] = Path(
        "vibrations"
    ),
    relax_first: Annotated[
        bool, typer.Option("--relax/--no-relax", help="Go to the minimum first.")
    ] = True,
    temperature: Annotated[float, typer.Option(help="In K.")] = 298.15,
    pressure: Annotated[float, typer.Option(help="In Pa.")] = 1e5,
    symmetry_number: Annotated[
        int | None,
        typer.Option(help="Of rotations; found if left out.", min=1),
    ] = None,
    multiplicity: Annotated[
        int, typer.Option(help="Of the electronic ground state.", min=1)
    ] = 1,
    quasi_rrho: Annotated[
        bool, typer.Option("--quasi-rrho", help="Soft modes become free rotors.")
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "float64",
    backend: Backend = None,
    extrapolate: Extrapolate = False,
) -> None:
    """Frequencies, zero-point energy, thermochemistry, and modes that move."""
    from equipot.report.vibration_page import summary
    from equipot.report.workflow_files import write_vibrations
    from equipot.workflows import model_hessian, relax
    from equipot.workflows import vibrations as normal_modes
    from equipot.workflows.thermochemistry import harmonic, ideal_gas

    atoms = read_structure(structure)
    atoms.calc = calculator = load_calculator(
        model, device, dtype, backend, extrapolate
    )
    hessian = model_hessian(calculator)
    if relax_first:
        relaxation = relax(atoms, hessian, fmax=RELAXED)
        typer.echo(f"relaxed in {relaxation.steps} steps: {relaxation.energy:.6f} eV")
        atoms = relaxation.atoms
        atoms.calc = calculator
    with collected_warnings() as warnings:
        modes = normal_modes(atoms, hessian)
    typer.echo(summary(modes))
    typer.echo("  mode      cm-1       THz   reduced mass / amu")
    for n, (nu, thz, mass) in enumerate(
        zip(modes.frequencies, modes.terahertz, modes.reduced_masses, strict=True), 1
    ):
        typer.echo(f"{n:6d}{nu:10.2f}{thz:10.3f}{mass:12.3f}")
    if len(modes.rigid_frequencies):
        worst = abs(modes.rigid_frequencies).max()
        typer.echo(f"translations and rotations before projection: {worst:.2g} cm-1")
    if atoms.pbc.any() or atoms.constraints:
        thermal = harmonic(modes, temperature, quasi_rrho=quasi_rrho)
    else:
        thermal = ideal_gas(
            modes,
            temperature,
            pressure,
            symmetry_number=symmetry_number,
            multiplicity=multiplicity,
            quasi_rrho=quasi_rrho,
        )
    typer.echo(
        f"{thermal.model} at {temperature:g} K: enthalpy {thermal.enthalpy:.6f} eV, "
        f"entropy {1000 * thermal.entropy:.4f} meV/K, "
        f"free energy {thermal.free_energy:.6f} eV"
    )
    title = atoms.get_chemical_formula()
    write_vibrations(output, modes, thermal, title, tuple(warnings))
    typer.echo(f"written: {output}/report.html, vibrations.json, modes.xyz")
