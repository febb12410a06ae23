"""The command `train-potential`, which is also `equipot train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.options import INTERRUPTED, Overrides, Resume, flag

if TYPE_CHECKING:
    from rich.console import Console

    from equipot.config.train import TrainConfig
    from equipot.training.run import TrainingResult

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


@app.command()
@explain_errors
def train(
    config: Annotated[
        Path,
        typer.Argument(
            help="YAML configuration, such as configs/demo.yaml. Relative paths of "
            "data start from data.root, and data.root from the current folder."
        ),
    ],
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Output folder.", show_default="runs/NAME_OF_CONFIG"),
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Train a committee with this number of members, in the subfolders "
            "member_1, member_2, ... of the output folder.",
        ),
    ] = None,
    resume: Resume = False,
    find_lr: Annotated[
        bool,
        flag(
            "--find-lr",
            help="Compare learning rates in short runs, print the losses, and end; "
            "nothing is written.",
        ),
    ] = False,
) -> None:
    """Train, test and verify a potential.

    The exit status is 1 if the model fails a check of equipot verify, and 130 if the
    run is interrupted; --resume continues it.
    """
    from equipot.config.load import load_config
    from equipot.config.train import TrainConfig

    directory = output or Path("runs") / config.stem
    checked = load_config(config, overrides or [], TrainConfig)

    from rich.console import Console

    from equipot.training.members import train_members
    from equipot.training.run import run_training

    console = Console()
    if find_lr:
        if members is not None or resume or output is not None:
            raise typer.BadParameter(
                "--find-lr writes nothing: give it without --output, --members and "
                "--resume"
            )
        _find_learning_rate(checked, console)
        return
    if members is None:
        _finish(run_training(checked, directory, resume=resume, console=console))
        return
    results = train_members(checked, directory, members, resume, console)
    if results[-1].progress.finished is None:
        raise typer.Exit(INTERRUPTED)
    models = ", ".join(str(result.directory.best) for result in results)
    typer.echo(
        f"committee: {directory}\nAll commands accept this folder as MODEL; for "
        f"equipot md, set `model: [{models}]` in the configuration; in Python, pass "
        "the list to EquipotCalculator. Energies and forces then have a standard "
        "deviation"
    )
    _check_verified(results)


def _find_learning_rate(config: "TrainConfig", console: "Console") -> None:
    """Print the losses at growing learning rates and the suggested one."""
    from equipot.bench.table import table_of
    from equipot.training.lr_finder import STEPS, find_learning_rate, suggested_rate

    trials = find_learning_rate(config, console)
    rows = [{"learning rate": f"{t.rate:g}", "validation loss": t.loss} for t in trials]
    console.print(table_of(f"after {STEPS} steps from the same weights", rows))
    typer.echo(f"suggested: --set training.optimizer.lr={suggested_rate(trials):g}")


def _finish(result: "TrainingResult") -> None:
    """Name the files of a run."""
    if result.progress.finished is None:
        raise typer.Exit(INTERRUPTED)
    files = result.directory
    typer.echo(f"model: {files.best}\nerrors: {files.metrics}\nlog: {files.log}")
    if result.certificate is not None:
        typer.echo(f"verification: {files.certificate}")
    _check_verified([result])


def _check_verified(results: "list[TrainingResult]") -> None:
    """Exit with status 1 if a model failed its verification."""
    failed = [
        result.directory.certificate
        for result in results
        if result.certificate is not None and not result.certificate.passed
    ]
    for file in failed:
        typer.echo(
            f"the model failed a check of equipot verify, see {file}; do not use it "
            "before the cause is known",
            err=True,
        )
    if failed:
        raise typer.Exit(1)
