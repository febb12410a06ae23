"""`equipot evaluate`: errors of a potential on labeled structures."""

from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP, model_files
from equipot.cli.options import (
    Backend,
    Device,
    EnergyKey,
    EnergyUnit,
    ForcesKey,
    ForcesUnit,
    LengthUnit,
    Precision,
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
        typer.Argument(help="Files with labeled structures, in a format of ASE."),
    ],
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML report to this file.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the errors to this JSON file.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Write the predictions to this extended XYZ file."),
    ] = None,
    device: Device = "auto",
    dtype: Precision = None,
    backend: Backend = None,
    hessians: Annotated[
        Path | None,
        typer.Option(help="Reference Hessians (.npz) to compare with."),
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
    """Compute the errors of a model on labeled structures.

    Names of labels default to those of the training. The exit status is 1 if no
    structure has a label.
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
