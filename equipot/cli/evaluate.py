"""`equipot evaluate`: errors of a potential on labelled structures."""

from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors


@explain_errors
def evaluate(
    model: Annotated[Path, typer.Argument(help="Model, a .safetensors file.")],
    data: Annotated[list[Path], typer.Argument(help="Files with structures.")],
    report: Annotated[Path | None, typer.Option(help="Write an HTML report.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the errors as JSON.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write predictions as extxyz.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[
        str | None, typer.Option(help="float32 or float64; as trained by default.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="Tensor products; as configured by default.")
    ] = None,
    energy_key: Annotated[
        str | None, typer.Option(help="Label.", show_default="REF_energy")
    ] = None,
    forces_key: Annotated[
        str | None, typer.Option(help="Label.", show_default="REF_forces")
    ] = None,
    stress_key: Annotated[
        str | None, typer.Option(help="Label.", show_default="REF_stress")
    ] = None,
    virials_key: Annotated[
        str | None, typer.Option(help="Label that takes the place of the stress.")
    ] = None,
) -> None:
    """Report errors of predictions beside the spread of the labels."""
    from equipot.config.data import KeysConfig
    from equipot.report.run import Wanted, run_evaluation

    keys = {
        "energy": energy_key,
        "forces": forces_key,
        "stress": stress_key,
        "virials": virials_key,
    }
    run_evaluation(
        model,
        data,
        keys=KeysConfig(**{label: key for label, key in keys.items() if key}),
        wanted=Wanted(report=report, json=json_file, predictions=output),
        device=device,
        dtype=dtype,
        backend=backend,
    )
