"""`equipot info`: what a checkpoint says about itself."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from equipot.cli.errors import explain_errors

WIDEST_LIST = 12


@explain_errors
def info(
    model: Annotated[Path, typer.Argument(help="Model, a .safetensors file.")],
) -> None:
    """Show what a model is, what it was trained on, and where it holds."""
    from equipot.checkpoint import read_header

    typer.secho(str(model), bold=True)
    for line in describe(read_header(model)):
        typer.echo(line)


def describe(header: Mapping[str, Any], indent: int = 0) -> Iterator[str]:
    """Lines of an indented listing, aligned within each section.

    Args:
        header: Nested mapping of JSON values.
        indent: Columns to the left.

    Yields:
        One line per value; sections follow the plain values of their level.
    """
    plain = {k: v for k, v in header.items() if not isinstance(v, Mapping)}
    sections = {k: v for k, v in header.items() if isinstance(v, Mapping)}
    width = max(map(len, plain), default=0)
    for key, value in plain.items():
        yield f"{'':{indent}}{key:{width}}  {_shown(value)}"
    for key, section in sections.items():
        yield f"{'':{indent}}{key}"
        yield from describe(section, indent + 2)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) > WIDEST_LIST or any(isinstance(v, Mapping) for v in value):
            return f"({len(value)} entries)"
        return ", ".join(map(_shown, value)) or "none"
    return "none" if value is None else str(value)
