"""`equipot data`: looks at labeled structures before anything is fitted to them."""

from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors

app = typer.Typer(help="Look at labeled structures.", no_args_is_help=True)

Key = Annotated[str | None, typer.Option(help="Name of the label in the files.")]


@app.callback()
def _data() -> None:
    """Look at labeled structures."""


@app.command()
@explain_errors
def check(
    files: Annotated[list[Path], typer.Argument(help="Any format of ASE but pickles.")],
    energy_key: Key = None,
    forces_key: Key = None,
    stress_key: Key = None,
    virials_key: Key = None,
    config_type_key: Key = None,
    pooled: Annotated[
        bool, typer.Option(help="The files are parts of one set, not train and test.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Write the report to this file as well.")
    ] = None,
) -> None:
    """Find what would silently spoil a training; exit with 1 if there is anything."""
    from rich.console import Console

    from equipot.config.data import KeysConfig
    from equipot.data.doctor import examine
    from equipot.data.findings import to_json
    from equipot.data.report_printing import print_report

    named = {
        "energy": energy_key,
        "forces": forces_key,
        "stress": stress_key,
        "virials": virials_key,
        "config_type": config_type_key,
    }
    keys = KeysConfig.model_validate({k: v for k, v in named.items() if v is not None})
    console = Console()
    with console.status("reading") as status:
        report = examine(files, keys, pooled=pooled, progress=status.update)
    print_report(report, console)
    if json is not None:
        json.write_text(to_json(report), encoding="utf-8")
    if not report.passed:
        raise typer.Exit(1)
