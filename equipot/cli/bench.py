"""`equipot bench`: benchmarks of components."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors

app = typer.Typer(help="Benchmark components of the library.", no_args_is_help=True)


class Arithmetic(StrEnum):
    """Floating-point precision of a benchmark."""

    float32 = "float32"
    float64 = "float64"


@app.callback()
def _bench() -> None:
    pass


@app.command("tensor-products")
@explain_errors
def tensor_products(
    lmax: Annotated[
        int, typer.Option(min=1, max=6, help="Largest lmax; all from 1 are measured.")
    ] = 4,
    channels: Annotated[
        list[int],
        typer.Option(min=1, help="Number of channels per degree; repeatable."),
    ] = [32],  # noqa: B006 - typer copies it
    edges: Annotated[
        int, typer.Option(min=1, help="Number of edges of the random molecules.")
    ] = 256,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Number of threads (default: as in PyTorch)."),
    ] = None,
    dtype: Annotated[
        Arithmetic, typer.Option(help="Floating-point precision of the timings.")
    ] = Arithmetic.float32,
    output: Annotated[
        Path | None,
        typer.Option(help="Output folder for an HTML page with plots, and JSON."),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Short benchmark: lmax 2, 8 channels, 64 edges."),
    ] = False,
) -> None:
    """Compare tensor products: expressivity, errors, FLOPs, time and memory."""
    import torch

    from equipot.bench.measure import Settings
    from equipot.bench.run import run_bench

    settings = Settings(
        lmax=tuple(range(1, (2 if quick else lmax) + 1)),
        channels=(8,) if quick else tuple(channels),
        edges=64 if quick else edges,
        dtype=getattr(torch, dtype),
        seconds=1.0 if quick else 15.0,
    )
    run_bench(settings, threads=threads, output=output)
