"""`equipot md`: molecular dynamics with a trained potential."""

from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.options import INTERRUPTED, Overrides, Resume


@explain_errors
def md(
    config: Annotated[
        Path, typer.Argument(help="YAML file, such as configs/demo_md.yaml.")
    ],
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for all files of the run.")
    ] = None,
    resume: Resume = False,
) -> None:
    """Run molecular dynamics, or resume it to the bit."""
    from equipot.calculators import EquipotCalculator
    from equipot.config.load import load_config
    from equipot.config.md import MDConfig
    from equipot.interrupt import watch_signals
    from equipot.md import MDStoppedError, read_structure, run_md
    from equipot.runtime import compute_settings

    run = load_config(config, overrides or [], MDConfig)
    atoms = read_structure(run.structure)
    atoms.calc = EquipotCalculator(
        run.model,
        device=run.device,
        dtype=run.dtype,
        backend=run.backend,
        on_extrapolation=run.on_extrapolation,
        max_spread=run.max_spread,
        check_neighbors=run.check_neighbors,
        skin=run.skin,
        always=("forces", "stress"),
    )
    # States record who computed, not that it was left open.
    run = run.model_copy(update={"backend": atoms.calc.potential.backend})
    try:
        with (
            compute_settings(run.num_threads, run.deterministic),
            watch_signals() as interruption,
        ):
            summary = run_md(
                atoms,
                run,
                output or run.output,
                resume=resume,
                fingerprint=atoms.calc.fingerprint,
                interrupted=lambda: interruption.requested,
            )
    except MDStoppedError as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from error
    if summary.stopped is not None:
        raise typer.Exit(INTERRUPTED)
