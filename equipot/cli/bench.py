"""`equipot bench`: measurements of whole models and of tensor products."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.models import model_files
from equipot.cli.options import flag
from equipot.cli.structures import read_structure

if TYPE_CHECKING:
    from ase import Atoms

    from equipot.bench.calculator_spec import CalculatorSpec

app = typer.Typer(help="Benchmark models and tensor products.", no_args_is_help=True)


class FloatType(StrEnum):
    """Floating-point types that can be timed."""

    float32 = "float32"
    float64 = "float64"


@app.callback()
def _bench() -> None:
    pass


@app.command("tensor-products")
@explain_errors
def tensor_products(
    lmax: Annotated[
        int,
        typer.Option(
            min=1, max=6, help="Highest degree; all degrees from 1 are measured."
        ),
    ] = 4,
    channels: Annotated[
        list[int], typer.Option(min=1, help="Channels per degree. Can be repeated.")
    ] = [32],  # noqa: B006 - typer copies it
    edges: Annotated[
        int, typer.Option(min=1, help="Number of edges of the random molecules.")
    ] = 256,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Number of threads.", show_default="that of PyTorch"),
    ] = None,
    dtype: Annotated[
        FloatType, typer.Option(help="Floating-point type of the timed products.")
    ] = FloatType.float32,
    json: Annotated[
        Path | None, typer.Option(help="Write all measurements to this JSON file.")
    ] = None,
    quick: Annotated[
        bool, flag("--quick", help="Small benchmark: lmax 2, 8 channels, 64 edges.")
    ] = False,
) -> None:
    """Compare products and backends: expressivity, errors, operations, memory, time."""
    import torch

    from equipot.bench.measure import Settings
    from equipot.bench.tensor_products import run_bench

    settings = Settings(
        lmax=tuple(range(1, (2 if quick else lmax) + 1)),
        channels=(8,) if quick else tuple(channels),
        edges=64 if quick else edges,
        dtype=getattr(torch, dtype),
        seconds=1.0 if quick else 15.0,
    )
    run_bench(settings, threads=threads, json=json)


@app.command()
@explain_errors
def models(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL[,KEY=VALUE...]",
            help="Model files, folders of runs, or folders of committees. Keys are "
            "arguments of EquipotCalculator (dtype, backend, skin, ...), and label.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:FACTORY[,KEY=VALUE...]",
            help="Another ASE calculator, made by FACTORY(KEY=VALUE, ...) of MODULE. "
            "The keys python (interpreter of its environment), path (folder of the "
            "module) and label (name in the table) are not passed on. Can be repeated.",
        ),
    ] = None,
    structures: Annotated[
        list[str] | None,
        typer.Option(
            "--structure",
            "-s",
            metavar="NAME|FILE",
            help="molecule (27 atoms), water (192 atoms), water-N (192 N^3 atoms), "
            "silicon-N (8 N^3 atoms), or a structure file. Can be repeated.",
            show_default="molecule, water, silicon-2 and silicon-5, as far as the "
            "models have their elements",
        ),
    ] = None,
    what: Annotated[
        str,
        typer.Option(
            help="energy, forces and stress, separated by commas; md, a step of "
            "dynamics; or hessian."
        ),
    ] = "energy,forces",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Number of threads.", show_default="that of PyTorch"),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=3, help="Samples of each calculator and structure.")
    ] = 9,
    seconds: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Time for each calculator and structure; three rounds are completed "
            "in any case.",
        ),
    ] = 3.0,
    json: Annotated[
        Path | None, typer.Option(help="Write all results to this JSON file.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write a plot of the times to this SVG file.")
    ] = None,
) -> None:
    """Compare models, and other ASE calculators, on the same structures.

    Each calculator has a process of its own, and they are measured in turn. Before
    every call the atoms are displaced by 0.01 Å. Times are relative to the first
    calculator.

    Example: equipot bench models runs/a --against
    mace.calculators:mace_mp,python=mace-env/bin/python,model=medium,label=MACE
    """
    import torch

    from equipot.bench.calculator_spec import check_labels, foreign_calculator
    from equipot.bench.model_comparison import Effort
    from equipot.bench.models import parse_what, run_models

    names = parse_what(what)
    specs = [_model_spec(text, names) for text in models or ()]
    found = _structures(structures, specs)
    specs += [foreign_calculator(text) for text in against or ()]
    if not specs:
        raise ValueError("name a model, or a calculator with --against")
    check_labels(specs)
    run_models(
        specs,
        found,
        names,
        Effort(rounds, seconds),
        threads=threads or torch.get_num_threads(),
        json=json,
        plot=plot,
    )


def _model_spec(text: str, what: tuple[str, ...]) -> "CalculatorSpec":
    from equipot.bench.calculator_spec import equipot_calculator, split_options
    from equipot.config.md import MDConfig

    files = model_files(Path(split_options(text)[0]))
    skin = MDConfig.model_fields["skin"].default
    defaults = {"skin": skin} if what == ("md",) else {}
    return equipot_calculator(text, files, **defaults)


def _structures(
    names: list[str] | None, specs: list["CalculatorSpec"]
) -> "dict[str, Atoms]":
    """Structures by name; without names, workloads of elements that all models have."""
    from equipot.bench.workloads import WORKLOADS, is_workload, workload
    from equipot.checkpoint.file import read_header

    if names:
        found = {
            Path(name).name: workload(name)
            if is_workload(name)
            else read_structure(name)
            for name in names
        }
        if len(found) < len(names):
            raise ValueError("two structures have the same file name; rename one")
        return found
    known = [
        {int(z) for z in read_header(Path(file))["statistics"]["reference_energies"]}
        for spec in specs
        for file in spec.arguments["model"]
    ]
    available = {name: workload(name) for name in WORKLOADS}
    supported = {
        name: atoms
        for name, atoms in available.items()
        if all(set(atoms.numbers.tolist()) <= elements for elements in known)
    }
    if not supported:
        raise ValueError("no built-in structure has elements of all models: name one")
    return supported
