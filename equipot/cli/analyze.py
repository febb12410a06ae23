"""`equipot analyze`: properties from a trajectory."""

import math
from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.units import FS_PER_PS

TRAJECTORIES = ("trajectory.extxyz", "trajectory.traj")
"""Names of trajectories in the folder of an MD run."""


@explain_errors
def analyze(
    trajectory: Annotated[
        Path,
        typer.Argument(help="Trajectory file, or the output folder of `equipot md`."),
    ],
    output: Annotated[Path, typer.Option(help="Output folder.")] = Path("analysis"),
    discard: Annotated[
        float, typer.Option(help="Equilibration time to discard, in ps.", min=0.0)
    ] = 0.0,
    interval: Annotated[
        float | None,
        typer.Option(
            help="Time between frames in fs.", show_default="as stored in the file"
        ),
    ] = None,
    reach: Annotated[
        float | None,
        typer.Option(
            help="Largest distance of the radial distribution function in Å.",
            show_default="10, or half of the smallest cell height",
        ),
    ] = None,
    bins: Annotated[
        int,
        typer.Option(
            help="Number of bins of the radial distribution function.",
            min=1,
            max=100_000,
        ),
    ] = 200,
    wrapped: Annotated[
        bool | None,
        typer.Option(
            "--wrapped/--unwrapped",
            help="Positions are wrapped into the cell, or not.",
            show_default="detected",
            metavar="",
        ),
    ] = None,
) -> None:
    """Compute averages, distribution functions, diffusion and spectra from MD."""
    from equipot.md.analysis import analyze as analyze_frames
    from equipot.md.analysis import read_trajectory
    from equipot.report.analysis_page import write_analysis
    from equipot.storage.provenance import Origin, file_sha256, named_models

    for name, value, unit in (("interval", interval, "fs"), ("reach", reach, "Å")):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(
                f"--{name} must be a number greater than 0 {unit}, got {value:g}"
            )
    file, log = _files(trajectory)
    frames = read_trajectory(
        file,
        interval=None if interval is None else interval / FS_PER_PS,
        discard=discard,
        wrapped=wrapped,
    )
    analysis = analyze_frames(frames, log=log, discard=discard, reach=reach, bins=bins)
    for note in analysis.notes:
        typer.secho(f"note: {note}", fg="yellow", err=True)
    for line in analysis.lines():
        typer.echo(line)
    read = [file] if log is None else [file, log]
    origin = Origin(
        named_models(frames.models, file.parent),
        {str(path): file_sha256(path) for path in read},
    )
    write_analysis(output, analysis, origin)
    typer.echo(f"written: {output}/report.html, analysis.json")


def _files(path: Path) -> tuple[Path, Path | None]:
    """Trajectory file, and the log file if a folder was given."""
    if not path.is_dir():
        return path, None
    found = [path / name for name in TRAJECTORIES if (path / name).is_file()]
    if len(found) != 1:
        raise ValueError(
            f"{path} holds {'both' if found else 'neither'} {TRAJECTORIES[0]} "
            f"{'and' if found else 'nor'} {TRAJECTORIES[1]}; name the trajectory "
            "file, or the output folder of equipot md"
        )
    log = path / "log.csv"
    return found[0], log if log.is_file() else None
