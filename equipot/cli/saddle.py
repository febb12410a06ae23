"""`equipot saddle`: transition state and intrinsic reaction coordinate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipot.cli.calculation import (
    collected_warnings,
    explain_calculations,
    prepare_calculation,
)
from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP
from equipot.cli.options import Backend, Device, counted
from equipot.cli.structures import Dtype, Extrapolate, Force

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from ase import Atoms


@explain_errors
@explain_calculations
def saddle(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structure: Annotated[
        str,
        typer.Argument(
            help="Initial guess of the transition state, or the first of two minima. "
            "FILE@INDEX selects a frame, counted from 0; the last one is the default."
        ),
    ],
    other: Annotated[
        str | None,
        typer.Argument(help="The second minimum, with the atoms in the same order."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Output folder.")] = Path("saddle"),
    images: Annotated[
        int,
        typer.Option(
            help="Images of the elastic band between two minima, ends included.", min=3
        ),
    ] = 9,
    fmax: Force = 1e-3,
    max_steps: Annotated[
        int, typer.Option(help="Maximum number of steps of the saddle search.", min=1)
    ] = 100,
    step: Annotated[
        float,
        typer.Option(help="Step length of the reaction path in Å amu^1/2.", min=1e-3),
    ] = 0.1,
    path_steps: Annotated[
        int, typer.Option(help="Maximum number of path steps on each side.", min=1)
    ] = 150,
    path_tolerance: Annotated[
        float,
        typer.Option(
            help="The path ends when this fraction of the energy difference between "
            "saddle point and minimum is left.",
            min=1e-6,
            max=0.5,
        ),
    ] = 0.01,
    device: Device = "auto",
    dtype: Dtype = "float64",
    backend: Backend = None,
    extrapolate: Extrapolate = False,
) -> None:
    """Find a transition state, and follow the reaction path to both minima.

    Given two minima, the initial guess is the highest image of an elastic band; in a
    periodic cell, each atom moves to its nearest periodic image. The exit status is 1
    unless the saddle point has exactly one imaginary mode and the path connects two
    different minima.
    """
    from equipot.report.reaction_page import verdict
    from equipot.report.workflow_files import write_reaction
    from equipot.workflows import find_saddle, reaction_through

    sources = [structure] if other is None else [structure, other]
    given = prepare_calculation(model, sources, device, dtype, backend, extrapolate)
    guess, hessian = given.atoms, given.hessian
    minima, direction = [], None
    if other is not None:
        start, end = given.structures
        minima = _minima(start, end, hessian)
        guess, direction = _between(minima, images)
    found = find_saddle(
        guess,
        hessian,
        direction=direction,
        fmax=fmax,
        max_steps=max_steps,
        observe=_print_step,
    )
    if found.num_negative == 0 or not found.converged:
        raise ValueError(
            f"no saddle point after {found.steps} steps: largest force "
            f"{found.max_force:.3g} eV/Å, {found.num_negative} negative eigenvalues of "
            "the Hessian; start closer to the saddle point, or give both minima"
        )
    found.atoms.calc = given.calculator
    with collected_warnings() as warnings:
        reaction = reaction_through(
            found.atoms,
            hessian,
            step=step,
            tolerance=path_tolerance,
            max_steps=path_steps,
        )
        if minima:
            reaction = reaction.between(*minima)
    title = found.atoms.get_chemical_formula()
    _print_reaction(verdict(reaction), reaction.zero_point_barriers, reaction.per)
    points = {
        "start": reaction.start.atoms,
        "saddle point": reaction.saddle.atoms,
        "end": reaction.end.atoms,
    }
    made = given.made(points)
    write_reaction(output, reaction, title, tuple(warnings), made)
    typer.echo(f"written: {output}/report.html, reaction.json, path.xyz, points.xyz")
    if reaction.problems:
        for problem in reaction.problems:
            typer.secho(f"  {problem}", fg="red", err=True)
        raise typer.Exit(1)


def _minima(
    start: "Atoms", end: "Atoms", hessian: "Callable[[Atoms], np.ndarray]"
) -> "list[Atoms]":
    """Both ends, relaxed."""
    from equipot.workflows import relax

    minima = []
    for name, atoms in (("start", start), ("end", end)):
        result = relax(atoms, hessian)
        typer.echo(
            f"{name}: relaxed in {counted(result.steps, 'step')}, {result.energy:.6f} "
            f"eV for all {len(atoms)} atoms"
        )
        if not result.converged:
            raise ValueError(
                f"the {name} did not converge in {result.steps} steps: largest force "
                f"{result.max_force:.3g} eV/Å; relax it first (equipot relax "
                "--max-steps)"
            )
        result.atoms.calc = start.calc
        minima.append(result.atoms)
    return minima


def _between(minima: "list[Atoms]", images: int) -> "tuple[Atoms, np.ndarray]":
    """The top of a band between two minima."""
    from equipot.workflows import guess_saddle

    start, end = minima
    guess = guess_saddle(start, end, images=images)
    height = guess.energies.max() - guess.energies[0]
    typer.echo(
        f"elastic band of {images} images: maximum {height:.4f} eV above the start"
    )
    guess.atoms.calc = start.calc
    return guess.atoms, guess.direction


def _print_step(step: int, energy: float, force: float, negative: int) -> None:
    typer.echo(
        f"step {step:3d}  energy {energy:.6f} eV  largest force {force:.2e} eV/Å  "
        f"negative eigenvalues {negative}"
    )


def _print_reaction(
    verdict: str, with_zero_point: tuple[float, float], per: str
) -> None:
    forward, backward = with_zero_point
    typer.echo(verdict)
    typer.echo(
        f"With zero-point energies: {forward:.3f} eV (forward) and {backward:.3f} eV "
        f"(backward) {per}."
    )
