"""Structure argument and common options of the workflow commands."""

from typing import TYPE_CHECKING, Annotated

import typer

from equipot.cli.options import flag

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

Structure = Annotated[
    str,
    typer.Argument(
        help="Structure file in a format of ASE. FILE@INDEX selects a frame, counted "
        "from 0; the last one is the default."
    ),
]
Dtype = Annotated[
    str,
    typer.Option(help="float64 (recommended for second derivatives) or float32."),
]
Extrapolate = Annotated[
    bool,
    flag(
        "--extrapolate",
        help="Warn, instead of stopping, outside the domain of validity of the model.",
    ),
]
Force = Annotated[
    float, typer.Option("--fmax", min=1e-8, help="Force convergence threshold in eV/Å.")
]


def read_structure(source: str) -> "Atoms":
    """One structure of a file, the last one unless ``FILE@INDEX`` says otherwise.

    Args:
        source: Such as ``water.xyz`` or ``path.xyz@3``.

    Returns:
        All that the file says of the structure: masses, momenta, tags, charges,
        magnetic moments and further information among it; no labels.

    Raises:
        ValueError: If there is no such structure, or it cannot be read.
    """
    from pathlib import Path

    from ase.constraints import FixAtoms

    from equipot.data.reading.frames import read_frame
    from equipot.data.reading.geometry import check_geometry
    from equipot.data.reading.unknown_keys import reject_unknown_keys
    from equipot.data.unlabeled import without_labels

    path, index = split_index(Path(source))
    if path.suffix == ".safetensors":
        raise ValueError(
            f"{path} is a model, expected a structure file: the order of arguments is "
            "MODEL STRUCTURE"
        )
    found = read_frame(path, index)
    if found is None:
        raise ValueError(
            f"cannot read a structure from {source}: the file has no frame {index}"
        )
    check_geometry(found, source)
    fixed = [c for c in found.constraints if isinstance(c, FixAtoms)]
    if len(fixed) != len(found.constraints):
        raise ValueError(
            f"{source} has constraints other than fixed atoms; remove them first"
        )
    reject_unknown_keys(found, source)
    return without_labels(found)


def split_index(source: "Path") -> tuple["Path", int]:
    """File and number of the frame."""
    if source.exists() or "@" not in source.name:
        return source, -1
    name, _, index = source.name.rpartition("@")
    try:
        return source.with_name(name), int(index)
    except ValueError as error:
        raise ValueError(
            f"expected one structure, FILE or FILE@INDEX with a number, got {source}"
        ) from error
