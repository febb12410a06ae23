"""`equipot plan`: time and memory of dynamics before it is run."""

from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP, model_files
from equipot.cli.options import Backend, Precision
from equipot.cli.structures import Structure, read_structure


@explain_errors
def plan(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structure: Structure,
    atoms: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            help="Number of atoms to predict. Can be repeated.",
            show_default="that of the structure, 10^3, 10^4, 10^5 and 10^6",
        ),
    ] = None,
    timestep: Annotated[
        float, typer.Option(min=1e-3, help="Time step in fs, for ns/day.")
    ] = 0.5,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Number of threads.", show_default="that of PyTorch"),
    ] = None,
    dtype: Precision = None,
    backend: Backend = None,
    seconds: Annotated[
        float,
        typer.Option(
            min=0.0, help="Time for measurements; four sizes are measured in any case."
        ),
    ] = 30.0,
    json: Annotated[
        Path | None, typer.Option(help="Write all results to this JSON file.")
    ] = None,
) -> None:
    """Predict time and memory of dynamics on the CPU, and the atoms that fit.

    Supercells or parts of the structure are measured, from 64 atoms to what the time
    allows: energy, forces, and stress if it is periodic in three directions, with a
    neighbor search. Time and peak memory are extrapolated linearly in the number of
    neighbors; the expected errors are the changes without the largest system.
    """
    import torch

    from equipot.bench.calculator_spec import equipot_calculator
    from equipot.bench.planning import run_plan
    from equipot.checkpoint.file import read_header

    files = model_files(model)
    options = {"device": "cpu", "dtype": dtype, "backend": backend}
    run_plan(
        equipot_calculator(str(model), files, **options),
        read_structure(structure),
        max(float(read_header(file)["model"]["cutoff"]) for file in files),
        atoms=atoms or (),
        timestep=timestep,
        threads=threads or torch.get_num_threads(),
        seconds=seconds,
        json=json,
    )
