"""`equipot vibrations`: normal modes and thermochemistry of a molecule."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from warnings import warn

import typer

from equipot.cli.calculation import (
    collected_warnings,
    explain_calculations,
    prepare_calculation,
)
from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP
from equipot.cli.options import Backend, Device, flag
from equipot.cli.relaxing import relaxed_first
from equipot.cli.structures import Dtype, Extrapolate, Structure

if TYPE_CHECKING:
    from equipot.workflows import Vibrations
    from equipot.workflows.thermochemistry import Thermochemistry

RELAXED_FORCE = 1e-4
"""Force in eV/Å to which the structure is relaxed first."""

PASCAL_PER_BAR = 1e5
"""Standard pressure in Pa."""


@explain_errors
@explain_calculations
def vibrations(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structure: Structure,
    output: Annotated[Path, typer.Option(help="Output folder.")] = Path("vibrations"),
    relax_first: Annotated[
        bool, flag("--relax/--no-relax", help="Relax the structure first.")
    ] = True,
    temperature: Annotated[
        float, typer.Option(help="Temperature in K.", min=1e-3)
    ] = 298.15,
    pressure: Annotated[
        float, typer.Option(help="Pressure in Pa.", min=1e-9)
    ] = PASCAL_PER_BAR,
    symmetry_number: Annotated[
        int | None,
        typer.Option(
            help="Rotational symmetry number.",
            show_default="from the point group of the structure",
            min=1,
        ),
    ] = None,
    multiplicity: Annotated[
        int,
        typer.Option(help="Spin multiplicity of the electronic ground state.", min=1),
    ] = 1,
    quasi_rrho: Annotated[
        bool,
        flag(
            "--quasi-rrho",
            help="Quasi-RRHO entropy: modes below 100 cm-1 approach free rotors "
            "(Grimme 2012).",
        ),
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "float64",
    backend: Backend = None,
    extrapolate: Extrapolate = False,
) -> None:
    """Compute vibrational frequencies, zero-point energy and thermochemistry.

    Masses are those of the structure file, or else those of ASE. The exit status is 1
    if the free energy is undefined: translations and rotations are not separable from
    the vibrations, more than one mode is imaginary, or the structure consists of
    several molecules that do not interact.
    """
    from equipot.report.vibration_page import summary
    from equipot.report.workflow_files import write_vibrations
    from equipot.workflows import vibrations as normal_modes

    given = prepare_calculation(model, [structure], device, dtype, backend, extrapolate)
    atoms = given.atoms
    thermal = None
    with collected_warnings() as warnings:
        if relax_first:
            atoms = relaxed_first(
                atoms, given.calculator, fmax=RELAXED_FORCE, required=False
            )
        modes = normal_modes(atoms, given.hessian)
        for remark in modes.remarks:
            warn(remark, stacklevel=2)
        _print_modes(modes, summary(modes))
        try:
            thermal = _thermochemistry(
                modes, temperature, pressure, symmetry_number, multiplicity, quasi_rrho
            )
        except ValueError as error:
            problem = f"no thermochemistry: {error}"
    if thermal is not None:
        _print_thermal(thermal)
    else:
        warnings.append(problem)
    title = atoms.get_chemical_formula()
    made = given.made({"stationary structure": modes.atoms})
    write_vibrations(output, modes, thermal, title, tuple(warnings), made)
    typer.echo(f"written: {output}/report.html, vibrations.json, modes.xyz")
    if thermal is None:
        typer.secho(f"error: {problem}", fg="red", err=True)
        raise typer.Exit(1)


def _print_modes(modes: "Vibrations", summary: str) -> None:
    typer.echo(summary)
    for name, places in modes.isotopes.items():
        listed = ", ".join(str(n) for n in places)
        typer.echo(f"isotope: {name}, atoms {listed}")
    typer.echo("  mode      cm-1       THz   reduced mass / amu")
    for n, (nu, thz, mass, unresolved) in enumerate(
        zip(
            modes.frequencies,
            modes.terahertz,
            modes.reduced_masses,
            modes.unresolved,
            strict=True,
        ),
        1,
    ):
        mark = "   indistinguishable from zero" if unresolved else ""
        typer.echo(f"{n:6d}{nu:10.2f}{thz:10.3f}{mass:12.3f}{mark}")
    if modes.rigid is not None and len(modes.rigid_frequencies):
        worst = abs(modes.rigid_frequencies).max()
        typer.echo(
            f"translations and rotations before projection: {worst:.2g} cm-1 "
            f"({modes.rigid.described()})"
        )


def _thermochemistry(
    modes: "Vibrations",
    temperature: float,
    pressure: float,
    symmetry_number: int | None,
    multiplicity: int,
    quasi_rrho: bool,
) -> "Thermochemistry":
    """Of an ideal gas where the structure is a free molecule, else harmonic."""
    from equipot.workflows.thermochemistry import harmonic, ideal_gas

    several = modes.rigid is not None and modes.rigid.bodies > 1
    if modes.molecule is not None or several:
        return ideal_gas(
            modes,
            temperature,
            pressure,
            symmetry_number=symmetry_number,
            multiplicity=multiplicity,
            quasi_rrho=quasi_rrho,
        )
    if symmetry_number is not None or pressure != PASCAL_PER_BAR:
        warn(
            "--symmetry-number and --pressure have no effect: the structure is "
            "periodic or has fixed atoms, and is not treated as an ideal gas",
            stacklevel=2,
        )
    return harmonic(
        modes, temperature, multiplicity=multiplicity, quasi_rrho=quasi_rrho
    )


def _print_thermal(thermal: "Thermochemistry") -> None:
    kind = "free energy" if thermal.pressure is None else "Gibbs free energy"
    typer.echo(
        f"{thermal.model} at {thermal.temperature:g} K, {thermal.per}: "
        f"enthalpy {thermal.enthalpy:.6f} eV, "
        f"entropy {1000 * thermal.entropy:.4f} meV/K, "
        f"{kind} {thermal.free_energy:.6f} eV"
    )
    for note in thermal.notes:
        typer.echo(f"  {note}")
