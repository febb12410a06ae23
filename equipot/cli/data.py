"""`equipot data`: looks at labeled structures before anything is fitted to them."""

from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors
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

app = typer.Typer(
    help="Look at labelled structures before training.", no_args_is_help=True
)


@app.callback()
def _data() -> None:
    pass


@app.command()
@explain_errors
def check(
    files: Annotated[
        list[Path], typer.Argument(help="Files in any format of ASE but pickles.")
    ],
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virials_key: VirialsKey = None,
    config_type_key: Annotated[
        str | None,
        typer.Option(help="Name of the group.", show_default="config_type"),
    ] = None,
    energy_unit: EnergyUnit = None,
    forces_unit: ForcesUnit = None,
    length_unit: LengthUnit = None,
    stress_unit: StressUnit = None,
    pooled: Annotated[
        bool,
        typer.Option(
            "--pooled", help="The files are parts of one set, not train and test."
        ),
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Write the report to this file as well.")
    ] = None,
) -> None:
    """Find what would silently spoil a training: units, signs, duplicates, gaps.

    Exits with status 1 if there is an error.
    """
    from rich.console import Console

    from equipot.data.doctor import examine
    from equipot.data.findings import to_json
    from equipot.data.report_printing import print_report

    keys = keys_config(
        energy=energy_key,
        forces=forces_key,
        stress=stress_key,
        virials=virials_key,
        config_type=config_type_key,
    )
    units = units_config(
        energy=energy_unit, forces=forces_unit, length=length_unit, stress=stress_unit
    )
    console = Console()
    with console.status("reading") as status:
        report = examine(
            files, keys, units=units, pooled=pooled, progress=status.update
        )
    print_report(report, console)
    if json is not None:
        json.write_text(to_json(report), encoding="utf-8")
    if not report.passed:
        raise typer.Exit(1)
