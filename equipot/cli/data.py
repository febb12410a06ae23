"""`equipot data`: looks at labeled structures before anything is fitted to them."""

from pathlib import Path
from typing import Annotated

import typer

from equipot.cli.errors import explain_errors
from equipot.cli.options import (
    EnergyKey,
    EnergyUnit,
    ForcesKey,
    ForcesUnit,
    LengthUnit,
    StressKey,
    StressUnit,
    VirialsKey,
    keys_config,
    units_config,
)

app = typer.Typer(
    help="Look at labeled structures before training, and convert sets.",
    no_args_is_help=True,
)


@app.callback()
def _data() -> None:
    pass


@app.command()
@explain_errors
def check(
    files: Annotated[
        list[Path], typer.Argument(help="Files in any format of ASE but pickles.")
    ],
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virials_key: VirialsKey = None,
    config_type_key: Annotated[
        str | None,
        typer.Option(help="Name of the group.", show_default="config_type"),
    ] = None,
    energy_unit: EnergyUnit = None,
    forces_unit: ForcesUnit = None,
    length_unit: LengthUnit = None,
    stress_unit: StressUnit = None,
    pooled: Annotated[
        bool,
        typer.Option(
            "--pooled", help="The files are parts of one set, not train and test."
        ),
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Write the report to this file as well.")
    ] = None,
) -> None:
    """Find what would silently spoil a training: units, signs, duplicates, gaps.

    Exits with status 1 if there is an error.
    """
    from rich.console import Console

    from equipot.data.checks.check import examine
    from equipot.data.checks.findings import to_json
    from equipot.data.checks.report_printing import print_report
    from equipot.storage.atomic_file import make_folder, write_atomically
    from equipot.storage.provenance import Origin, file_sha256

    keys = keys_config(
        energy=energy_key,
        forces=forces_key,
        stress=stress_key,
        virials=virials_key,
        config_type=config_type_key,
    )
    units = units_config(
        energy=energy_unit, forces=forces_unit, length=length_unit, stress=stress_unit
    )
    console = Console()
    with console.status("reading") as status:
        report = examine(
            files, keys, units=units, pooled=pooled, progress=status.update
        )
    print_report(report, console)
    if json is not None:
        make_folder(json.parent)
        origin = Origin(inputs={str(f): file_sha256(f) for f in files if f.exists()})
        write_atomically(json, to_json(report, origin).encode())
    if not report.passed:
        raise typer.Exit(1)


@app.command()
@explain_errors
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="File of NumPy (.npz): rMD17, MD17, or another of molecules."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File of extended XYZ to write.")
    ],
    energy_unit: Annotated[
        str | None,
        typer.Option(help="eV, meV, kcal/mol, kJ/mol, Ha or Ry.", show_default="told"),
    ] = None,
    length_unit: Annotated[
        str | None,
        typer.Option(help="Å (or Angstrom), bohr or nm.", show_default="told"),
    ] = None,
    forces_unit: Annotated[
        str | None,
        typer.Option(help="Such as Ha/bohr.", show_default="energy over length"),
    ] = None,
    indices: Annotated[
        Path | None,
        typer.Option(
            help="Text with the numbers of the structures to keep, from 0, such as a "
            "split of rMD17."
        ),
    ] = None,
) -> None:
    """Turn a set of molecules into extended XYZ with energies in eV, forces in eV/Å.

    Entries are found by their usual names: R, coords; z, nuclear_charges; E, energies;
    F, forces. Units are never guessed: give them, unless the file tells them (e_unit,
    r_unit) or it is one of rMD17, which is in kcal/mol and Å.
    """
    from equipot.data.reading.conversion import Units, check_lengths, read_npz_set
    from equipot.storage.frame_file import write_frames
    from equipot.storage.provenance import Origin, file_sha256, stamp

    if output.exists():
        raise ValueError(f"{output} exists already; choose another name")
    if output.suffix not in (".xyz", ".extxyz"):
        raise ValueError(f"{output} must end with .xyz or .extxyz, to be read again")
    chosen = None if indices is None else _integers(indices)
    converted = read_npz_set(
        source, Units(energy_unit, length_unit, forces_unit), chosen
    )
    check_lengths(converted, source)
    output.parent.mkdir(parents=True, exist_ok=True)
    origin = Origin(inputs={str(source): file_sha256(source)})
    for frame in converted.frames:
        stamp(frame.info, origin.info())
    write_frames(output, converted.frames)
    used = converted.units
    typer.echo(
        f"{len(converted.frames)} structures, energies in {used.energy}, positions in "
        f"{used.length}, forces in {used.forces} ({converted.units_source}); written "
        f"in eV, Å and eV/Å: {output}"
    )
    if converted.left_out:
        typer.echo(f"not converted: {', '.join(converted.left_out[:20])}")
    typer.echo(f"check it: equipot data check {output}")


def _integers(path: Path) -> list[int]:
    """Numbers of a text file, one a line or separated by commas."""
    words = path.read_text(encoding="utf-8").replace(",", " ").split()
    if wrong := [word for word in words if not (word.isascii() and word.isdecimal())]:
        raise ValueError(
            f"{path} must hold numbers of structures, got {wrong[0][:40]!r}"
        )
    return [int(word) for word in words]
