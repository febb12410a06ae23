"""`equipot bench`: measures what the library is made of."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors

app = typer.Typer(help="Measure what the library is made of.", no_args_is_help=True)


class Arithmetic(StrEnum):
    """What can be timed in."""

    float32 = "float32"
    float64 = "float64"


@app.callback()
def _bench() -> None:
    pass


@app.command("tensor-products")
@explain_errors
def tensor_products(
    lmax: Annotated[
        int, typer.Option(min=1, max=6, help="Highest degree; from 1 to it.")
    ] = 4,
    channels: Annotated[
        list[int], typer.Option(min=1, help="Copies of each degree; repeatable.")
    ] = [32],  # noqa: B006 - typer copies it
    edges: Annotated[int, typer.Option(min=1, help="Edges of random molecules.")] = 256,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads; those of PyTorch by default.")
    ] = None,
    dtype: Annotated[
        Arithmetic, typer.Option(help="Arithmetic of times.")
    ] = Arithmetic.float32,
    output: Annotated[
        Path | None, typer.Option(help="Folder for a page with plots, and JSON.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A glance: lmax 2, 8 channels, 64 edges.")
    ] = False,
) -> None:
    """Compare tensor products: what they can express, errors, work, time, memory."""
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
