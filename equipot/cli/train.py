"""The command `train-potential`."""

from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.options import INTERRUPTED, Overrides, Resume

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


@app.command()
@explain_errors
def train(
    config: Annotated[
        Path, typer.Argument(help="YAML file, such as configs/demo.yaml.")
    ],
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Directory of the run; runs/NAME_OF_CONFIG by default."),
    ] = None,
    resume: Resume = False,
) -> None:
    """Train a potential on labelled structures, test it, and verify it.

    The exit status is 1 if the model fails a check of equipot verify.
    """
    from equipot.config.load import load_config
    from equipot.config.train import TrainConfig

    directory = output or Path("runs") / config.stem
    checked = load_config(config, overrides or [], TrainConfig)

    from rich.console import Console

    from equipot.training.run import run_training

    result = run_training(checked, directory, resume=resume, console=Console())
    if result.position.finished is None:
        raise typer.Exit(INTERRUPTED)
    files = result.directory
    typer.echo(f"model: {files.best}\nerrors: {files.metrics}\nlog: {files.log}")
    if result.certificate is None:
        return
    typer.echo(f"certificate: {files.certificate}")
    if not result.certificate.passed:
        typer.echo(
            f"the model failed its verification, see {files.certificate}: do not use "
            "it before you know why",
            err=True,
        )
        raise typer.Exit(1)
