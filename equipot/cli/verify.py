"""`equipot verify`: whether a model is computed right on this machine."""

from pathlib import Path
from typing import Annotated, Any

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.models import MODEL_HELP, model_files


@explain_errors
def verify(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP)],
    structures: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files with structures, in any format of ASE; by default those that "
            "the model carries."
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="Backend to verify; by default all that support the model."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the numbers to this JSON file.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a report to this HTML file.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, or auto: cuda if there is one.")
    ] = "auto",
    dtype: Annotated[
        str | None, typer.Option(help="float32 or float64; as trained by default.")
    ] = None,
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough", help="Look at more of everything; takes many minutes."
        ),
    ] = False,
) -> None:
    """Probe a model, compare backends with the reference, derivatives with differences.

    The exit status is 0 if everything agrees and 1 if anything does not.
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
