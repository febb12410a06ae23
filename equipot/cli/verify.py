"""`equipot verify`: checks of a model and its backends on this machine."""

from pathlib import Path
from typing import Annotated, Any

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP, model_files
from equipot.cli.options import Device, Precision, flag


@explain_errors
def verify(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structures: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Structure files, in a format of ASE.",
            show_default="structures stored in the model file",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="Backend to verify.", show_default="all supported ones"),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all results to this JSON file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML report to this file.")
    ] = None,
    device: Device = "auto",
    dtype: Precision = None,
    thorough: Annotated[
        bool,
        flag(
            "--thorough",
            help="Check more structures, seeds and repetitions. Takes many minutes.",
        ),
    ] = False,
) -> None:
    """Check symmetries, derivatives, smoothness and backends of a model.

    The exit status is 0 if all checks pass and 1 otherwise.
    """
    from equipot.report import verification

    models = model_files(model)
    options: dict[str, Any] = {
        "backend": backend,
        "json_file": json_file,
        "report_file": report,
        "device": device,
        "dtype": dtype,
        "level": "thorough" if thorough else "standard",
    }
    files = structures or ()
    if not verification.run_verification(models, files, **options):
        raise typer.Exit(1)
