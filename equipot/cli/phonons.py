"""`equipot phonons`: band structure, density of states, thermal properties."""

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from equipot.cli.calculation import (
    collected_warnings,
    explain_calculations,
    prepare_calculation,
    print_warnings,
)
from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP
from equipot.cli.options import Backend, Device, flag
from equipot.cli.relaxing import Hessian, relaxed_first
from equipot.cli.structures import Dtype, Extrapolate

if TYPE_CHECKING:
    from equipot.calculators import EquipotCalculator
    from equipot.workflows.phonons import ForceConstants, Phonons
    from equipot.workflows.third_order import ThirdOrder

THIRD = "--third-order"
"""Option of the supercell for third-order force constants."""

OPTION_AND_NUMBERS = rf"(--supercell|{THIRD})=[0-9]+(,[0-9]+)*"
"""Beginning of a supercell on the command line."""

RELAXED_FORCE = 1e-4
"""Force in eV/Å to which the crystal is relaxed first."""


class Method(StrEnum):
    """Method for force constants."""

    auto = "auto"
    derivatives = "derivatives"
    displacements = "displacements"


@explain_errors
@explain_calculations
def phonons(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structure: Annotated[
        str,
        typer.Argument(
            help="Structure file with the unit cell. FILE@INDEX selects a frame, "
            "counted from 0; the last one is the default."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Output folder.")] = Path("phonons"),
    supercell: Annotated[
        str | None,
        typer.Option(
            metavar="N | N,N,N",
            help="Repetitions along the three lattice vectors: 2, 2,2,2 or 2x2x2.",
            show_default="smallest that contains a sphere of the cutoff radius",
        ),
    ] = None,
    method: Annotated[
        Method,
        typer.Option(help="Method for force constants; auto selects the cheaper one."),
    ] = Method.auto,
    relax_first: Annotated[
        bool, flag("--relax/--no-relax", help="Relax the atoms first.")
    ] = True,
    cell: Annotated[bool, flag("--cell", help="Relax atoms and cell first.")] = False,
    hessian: Hessian = None,
    third_order: Annotated[
        str | None,
        typer.Option(
            metavar="N | N,N,N",
            help="Repetitions for third-order force constants, which phono3py needs "
            "for thermal conductivities.",
            show_default="not computed",
        ),
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "float64",
    backend: Backend = None,
    extrapolate: Extrapolate = False,
) -> None:
    """Compute phonon band structure, density of states and thermal properties.

    The exit status is 1 if the frequencies of the acoustic modes at Γ do not vanish.
    """
    from equipot.report.phonon_page import EVALUATED, doubts, stability
    from equipot.report.workflow_files import write_phonons
    from equipot.workflows import model_products
    from equipot.workflows.phonons import force_constants, supercell_around
    from equipot.workflows.phonons import phonons as lattice_dynamics
    from equipot.workflows.second_derivatives import difference_step, interaction_range

    wanted = None if supercell is None else parse_supercell(supercell)
    of_third = None if third_order is None else parse_supercell(third_order, THIRD)
    given = prepare_calculation(model, [structure], device, dtype, backend, extrapolate)
    atoms, calculator = given.crystal("phonons"), given.calculator
    if relax_first or cell:
        atoms = relaxed_first(
            atoms, calculator, cell=cell, fmax=RELAXED_FORCE, hessian=hessian
        )
    copies = wanted or supercell_around(atoms, calculator.potential.cutoff)
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
        f"{constants.evaluations} {EVALUATED[constants.method]}; acoustic sum rule "
        f"violated by {constants.sum_rule:.1e} eV/Å^2"
    )
    result = lattice_dynamics(constants)
    typer.echo(stability(result))
    _print_thermal(result)
    print_warnings(doubts(result))
    title = atoms.get_chemical_formula(empirical=True)
    made = given.made({"crystal": atoms})
    third = None if of_third is None else _third_order(constants, of_third, calculator)
    write_phonons(output, result, title, tuple(warnings), made, third)
    typer.echo(f"written: {output}/report.html, phonons.json, phonopy_params.yaml")
    if third is not None:
        typer.echo(
            "  and phono3py_params.yaml, fc2.hdf5, fc3.hdf5; thermal conductivity: "
            f"cd {output} && phono3py-load phono3py_params.yaml --br --mesh 100"
        )
    if not result.invariant:
        raise typer.Exit(1)


def _print_thermal(result: "Phonons") -> None:
    typer.echo(f"per primitive cell of {result.primitive.text}:")
    typer.echo("     T/K   free energy/eV   entropy/(meV/K)   heat capacity/(meV/K)")
    for n in range(0, len(result.temperatures), 10):
        typer.echo(
            f"{result.temperatures[n]:8.0f}{result.free_energy[n]:17.6f}"
            f"{1000 * result.entropy[n]:18.4f}{1000 * result.heat_capacity[n]:24.4f}"
        )


def _third_order(
    constants: "ForceConstants",
    copies: tuple[int, int, int],
    calculator: "EquipotCalculator",
) -> "ThirdOrder":
    """Third-order force constants; prints their number and violations."""
    from equipot.workflows import model_products, model_third_products
    from equipot.workflows.third_order import third_order_force_constants

    found = third_order_force_constants(
        constants,
        copies,
        model_products(calculator),
        model_third_products(calculator),
        lambda done, of: typer.secho(
            f"third order: displacement {done + 1} of {of}", dim=True, err=True
        ),
    )
    typer.echo(
        f"third order: supercell {'x'.join(map(str, copies))}, "
        f"{len(found.phono3py.supercell)} atoms; {found.pairs} third derivatives; "
        f"relative violations of {found.asymmetry:.1e} (permutations) and "
        f"{found.sum_rule:.1e} (acoustic sum rule)"
    )
    return found


def parse_supercell(text: str, option: str = "--supercell") -> tuple[int, int, int]:
    """Copies along three lattice vectors, such as ``2``, ``2,2,2`` or ``2x2x2``.

    Args:
        text: Value of the option.
        option: Name of the option, for messages.

    Raises:
        ValueError: If it is not one or three positive whole numbers.
    """
    parts = [part.strip() for part in re.split(r"[,xX×]|\s+", text.strip())]
    parts = [part for part in parts if part] if " " in text.strip() else parts
    if len(parts) in (1, 3) and all(re.fullmatch(r"[0-9]{1,6}", p) for p in parts):
        a, b, c = (int(part) for part in (parts * 3 if len(parts) == 1 else parts))
        if min(a, b, c) > 0:
            return a, b, c
    raise ValueError(
        f"{option} expects one or three positive whole numbers, copies along the "
        f"lattice vectors: 2, 2,2,2, 2x2x2 or '2 2 2'; got {text!r}"
    )


class SupercellCommand(TyperCommand):
    """Takes ``--supercell 2 2 2`` for ``--supercell 2,2,2``; also --third-order."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the numbers after the option; typer calls this."""
        joined: list[str] = []
        for arg in args:
            named = joined[-2:-1] in (["--supercell"], [THIRD])
            before = "=".join(joined[-2:]) if named else ""
            option = before or (joined[-1] if joined else "")
            numbers = re.fullmatch(OPTION_AND_NUMBERS, option)
            if numbers and re.fullmatch(r"[0-9]+", arg):
                joined[-1] += f",{arg}"
            else:
                joined.append(arg)
        return super().parse_args(ctx, joined)
