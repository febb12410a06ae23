"""`equipot md`: molecular dynamics with a trained potential."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.models import described_committee, model_files
from equipot.cli.options import INTERRUPTED, Overrides, Resume

if TYPE_CHECKING:
    from equipot.config.md import MDConfig


@explain_errors
def md(
    config: Annotated[
        Path,
        typer.Argument(
            help="YAML configuration, such as configs/demo_md.yaml. Relative paths in "
            "it start from the current folder."
        ),
    ],
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Output folder.", show_default="`output` of the configuration"
        ),
    ] = None,
    resume: Resume = False,
) -> None:
    """Run molecular dynamics, or continue a run bit for bit.

    The exit status is 1 if a guard stops the run, and 130 if it is interrupted;
    --resume continues it.
    """
    from equipot.calculators import EquipotCalculator
    from equipot.config.load import load_config
    from equipot.config.md import MDConfig
    from equipot.md import MDStoppedError, read_start, run_md
    from equipot.storage.provenance import Origin, file_sha256
    from equipot.system.interrupt import watch_signals
    from equipot.system.settings import compute_settings

    if config.suffix == ".safetensors":
        raise ValueError(
            f"{config} is a model, expected a YAML file that names it, such as "
            "configs/demo_md.yaml"
        )
    run = load_config(config, overrides or [], MDConfig)
    _check_paths(run, config)
    start = read_start(run.structure, run.fixed, run.velocities)
    for note in start.notes:
        typer.secho(f"note: {note}", dim=True, err=True)
    atoms = start.atoms
    given = run.model if isinstance(run.model, tuple) else (run.model,)
    models = [file for path in given for file in model_files(path)]
    atoms.calc = EquipotCalculator(
        models,
        device=run.device,
        dtype=run.dtype,
        backend=run.backend,
        frozen=run.frozen,
        on_extrapolation=run.on_extrapolation,
        max_spread=run.max_spread,
        check_neighbors=run.check_neighbors,
        skin=run.skin,
    )
    if len(atoms.calc.models) > 1:
        typer.echo(described_committee(atoms.calc.models))
    # States record what is used, not "auto" or null.
    used = {"backend": atoms.calc.potential.backend, "frozen": atoms.calc.frozen}
    run = run.model_copy(update=used)
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
                origin=Origin(
                    atoms.calc.models,
                    {str(run.structure.file): file_sha256(run.structure.file)},
                ),
                interrupted=lambda: interruption.requested,
            )
    except MDStoppedError as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from error
    if summary.stopped is not None:
        raise typer.Exit(INTERRUPTED)


def _check_paths(run: "MDConfig", config: Path) -> None:
    """Raise an error for a missing file that states the base of relative paths."""
    models = run.model if isinstance(run.model, tuple) else (run.model,)
    named = [("model", path) for path in models]
    named.append(("structure.file", run.structure.file))
    for key, path in named:
        if path.exists():
            continue
        message = f"{key}: {path}: no such file"
        if not path.is_absolute():
            message += (
                f"; relative paths are relative to the current folder, {Path.cwd()}"
            )
            if (beside := config.parent / path).exists():
                message += f" (there is {beside}, beside the configuration)"
        raise ValueError(message)
