"""The command `equipot`; each subcommand has its own module."""

from typing import Annotated

import typer

from equipot import __version__
from equipot.cli.analyze import analyze
from equipot.cli.bench import app as bench
from equipot.cli.convert import convert
from equipot.cli.data import app as data
from equipot.cli.doctor import doctor
from equipot.cli.elastic import elastic
from equipot.cli.eos import eos
from equipot.cli.evaluate import evaluate
from equipot.cli.info import info
from equipot.cli.md import md
from equipot.cli.phonons import SupercellCommand, phonons
from equipot.cli.plan import plan
from equipot.cli.relax import relax
from equipot.cli.saddle import saddle
from equipot.cli.train import train
from equipot.cli.verify import verify
from equipot.cli.vibrations import vibrations

app = typer.Typer(
    name="equipot",
    help="Train, evaluate, verify and use E(3)-equivariant interatomic potentials.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def _equipot(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_print_version,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    pass


app.add_typer(bench, name="bench")
app.add_typer(data, name="data")
app.command()(train)
app.command()(evaluate)
app.command()(verify)
app.command()(md)
app.command()(analyze)
app.command("analyse", hidden=True)(analyze)
app.command()(relax)
app.command()(vibrations)
app.command()(saddle)
app.command(cls=SupercellCommand)(phonons)
app.command()(elastic)
app.command()(eos)
app.command()(convert)
app.command()(plan)
app.command()(info)
app.command()(doctor)
