"""`equipot bench`: measurements of tensor products."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.options import flag

app = typer.Typer(help="Benchmark tensor products.", no_args_is_help=True)


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
