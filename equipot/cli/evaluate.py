"""`equipot evaluate`: errors of a potential on labeled structures."""

from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP, model_files
from equipot.cli.options import (
    EnergyKey,
    EnergyUnit,
    ForcesKey,
    ForcesUnit,
    LengthUnit,
    StressKey,
    StressUnit,
    VirialsKey,
    keys_config,
    units_config,
)


@explain_errors
def evaluate(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    data: Annotated[
        list[Path],
        typer.Argument(help="Labeled structures, in any format of ASE."),
    ],
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML report to this file.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the errors to this JSON file.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the predictions to this extxyz file.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, or auto (cuda if available).")
    ] = "auto",
    dtype: Annotated[
        str | None, typer.Option(help="float32 or float64 (default: as trained).")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="Tensor-product backend, or auto for the fastest (default: as "
            "trained)."
        ),
    ] = None,
    hessians: Annotated[
        Path | None,
        typer.Option(help="Reference Hessians, a .npz file."),
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virials_key: VirialsKey = None,
    energy_unit: EnergyUnit = None,
    forces_unit: ForcesUnit = None,
    length_unit: LengthUnit = None,
    stress_unit: StressUnit = None,
) -> None:
    """Errors of predictions on labeled structures.

    Label names default to those of the training. The exit status is 1 if no structure
    has a label.
    """
    from equipot.report.run import Wanted, run_evaluation

    run_evaluation(
        model_files(model),
        data,
        keys=keys_config(
            energy=energy_key,
            forces=forces_key,
            stress=stress_key,
            virials=virials_key,
        ),
        units=units_config(
            energy=energy_unit,
            forces=forces_unit,
            length=length_unit,
            stress=stress_unit,
        ),
        wanted=Wanted(report=report, json=json_file, predictions=output),
        device=device,
        dtype=dtype,
        backend=backend,
        hessians=hessians,
    )
