"""`equipot data`: check and convert labeled data sets."""

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
    flag,
    keys_config,
    units_config,
)

app = typer.Typer(
    help="Check and convert labeled data sets.",
    no_args_is_help=True,
)


@app.callback()
def _data() -> None:
    pass


@app.command()
@explain_errors
def check(
    files: Annotated[
        list[Path],
        typer.Argument(help="Files with labeled structures, in a format of ASE."),
    ],
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    virials_key: VirialsKey = None,
    config_type_key: Annotated[
        str | None,
        typer.Option(
            help="Name of the group label in the files.", show_default="config_type"
        ),
    ] = None,
    energy_unit: EnergyUnit = None,
    forces_unit: ForcesUnit = None,
    length_unit: LengthUnit = None,
    stress_unit: StressUnit = None,
    pooled: Annotated[
        bool,
        flag(
            "--pooled",
            help="Treat all files as one data set, not as training and test sets.",
        ),
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Write the report to this JSON file.")
    ] = None,
) -> None:
    """Check labels for wrong units and signs, gaps, duplicates and inconsistencies.

    Several files are training and test sets, which must not share structures. The exit
    status is 1 if there is an error.
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
        typer.Argument(help="NumPy file (.npz) with molecules, such as rMD17 or MD17."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Output file, extended XYZ.")
    ],
    energy_unit: Annotated[
        str | None,
        typer.Option(
            help="Unit of energies: eV, meV, kcal/mol, kJ/mol, Ha or Ry.",
            show_default="from the file",
        ),
    ] = None,
    length_unit: Annotated[
        str | None,
        typer.Option(
            help="Unit of positions: Å (or Angstrom), bohr or nm.",
            show_default="from the file",
        ),
    ] = None,
    forces_unit: Annotated[
        str | None,
        typer.Option(
            help="Unit of forces, such as Ha/bohr.",
            show_default="energy unit over length unit",
        ),
    ] = None,
    indices: Annotated[
        Path | None,
        typer.Option(
            help="Text file with the indices of the structures to convert, counted "
            "from 0, such as a split of rMD17."
        ),
    ] = None,
) -> None:
    """Convert a NumPy data set of molecules to extended XYZ, in eV and eV/Å.

    Models of other packages are converted by `equipot convert`.

    Arrays are recognized by their usual names: R, coords; z, nuclear_charges; E,
    energies; F, forces. Units are never guessed: they must be given, unless the file
    contains them (e_unit, r_unit) or it is part of rMD17, in kcal/mol and Å.
    """
    from equipot.data.reading.conversion import Units, check_lengths, read_npz_set
    from equipot.storage.frame_file import write_frames
    from equipot.storage.provenance import Origin, file_sha256, stamp

    if output.exists():
        raise ValueError(f"{output} exists already; choose another name")
    if output.suffix not in (".xyz", ".extxyz"):
        raise ValueError(f"{output} must end in .xyz or .extxyz")
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


@app.command("force-constants")
@explain_errors
def force_constants(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="phonopy_params.yaml, phonopy.yaml or phonopy_disp.yaml of one or "
            "several crystals; may be compressed (.xz, .gz, .bz2)."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Output file, extended XYZ; Hessians beside it."
        ),
    ],
    constants: Annotated[
        Path | None,
        typer.Option(
            "--force-constants",
            help="FORCE_CONSTANTS or force_constants.hdf5 of a single crystal.",
        ),
    ] = None,
    force_sets: Annotated[
        Path | None, typer.Option(help="FORCE_SETS of a single crystal.")
    ] = None,
    displaced: Annotated[
        bool,
        flag("--displaced", help="Write the displaced supercells with forces, too."),
    ] = False,
    relaxed: Annotated[
        bool,
        flag(
            "--relaxed",
            help="Label supercells at rest with zero forces: the crystals are relaxed.",
        ),
    ] = False,
) -> None:
    """Convert phonopy calculations to supercells with Hessians, for training.

    Force constants are read, or computed from displacements and forces, and symmetrized
    with respect to permutations and translations.
    """
    import numpy as np

    from equipot.data.reading.phonopy_files import read_force_constants
    from equipot.storage.array_file import write_arrays
    from equipot.storage.frame_file import write_frames
    from equipot.storage.provenance import Origin, file_sha256, stamp

    hessians = output.with_suffix(".npz")
    for path in (output, hessians):
        if path.exists():
            raise ValueError(f"{path} exists already; choose another name")
    if output.suffix not in (".xyz", ".extxyz"):
        raise ValueError(f"{output} must end in .xyz or .extxyz")
    if len(sources) > 1 and (constants or force_sets):
        raise ValueError(
            "--force-constants and --force-sets are for one crystal, got "
            f"{len(sources)} files"
        )
    beside = [path for path in (constants, force_sets) if path is not None]
    frames, arrays = [], {}
    for number, source in enumerate(sources):
        found = read_force_constants(source, constants, force_sets)
        rest, name = found.supercell, f"{number}:{source.name}"
        rest.info["REF_hessian"] = name
        if relaxed:
            rest.arrays["REF_forces"] = np.zeros((len(rest), 3))
        arrays[name] = found.hessian
        moved = found.displaced if displaced else ()
        origin = Origin(inputs={str(f): file_sha256(f) for f in (source, *beside)})
        for frame in (rest, *moved):
            frame.info["config_type"] = "force_constants"
            stamp(frame.info, origin.info())
            frames.append(frame)
        typer.echo(
            f"{source}: {rest.get_chemical_formula()}, {len(rest)} atoms; before "
            f"symmetrization, relative violations of {found.asymmetry:.1e} "
            f"(permutations) and {found.sum_rule:.1e} (acoustic sum rule)"
        )
        if displaced:
            typer.echo(f"  and {len(moved)} displaced supercells")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(hessians, arrays)
    write_frames(output, frames)
    typer.echo(
        f"written: {output}, {hessians}; to train on them:\n"
        f"  data: {{train: {output.name}, "
        f"hessians: {{{output.name}: {hessians.name}}}}}\n"
        "  training: {loss: {hessian: {weight: 1.0, mode: atoms}}}"
    )


def _integers(path: Path) -> list[int]:
    """Integers of a text file, separated by whitespace or commas."""
    words = path.read_text(encoding="utf-8").replace(",", " ").split()
    if wrong := [word for word in words if not (word.isascii() and word.isdecimal())]:
        raise ValueError(
            f"{path} must contain indices of structures, got {wrong[0][:40]!r}"
        )
    return [int(word) for word in words]
