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

ALL = "@:"
"""End of the name of a source that means all structures of the file."""


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

    from equipot.data.reading.frames import read_frame

    path, index = split_index(Path(source))
    _refuse_model(path)
    found = read_frame(path, index)
    if found is None:
        raise ValueError(
            f"cannot read a structure from {source}: the file has no frame {index}"
        )
    return _checked(found, source)


def read_structures(source: str) -> "list[Atoms]":
    """All structures of a file, in order.

    Args:
        source: Such as ``path.xyz@:``; see `names_all`.

    Raises:
        ValueError: As in `read_structure`; the message contains the number of the
            frame.
    """
    from equipot.data.reading.frames import iterate_frames

    path = file_of(source)
    _refuse_model(path)
    return [
        _checked(found, f"{path}@{number}")
        for number, found in enumerate(iterate_frames(path))
    ]


def names_all(source: str) -> bool:
    """Whether all structures of a file are meant: ``FILE@:``."""
    from pathlib import Path

    return source.endswith(ALL) and not Path(source).exists()


def file_of(source: str) -> "Path":
    """File of ``FILE``, ``FILE@INDEX`` or ``FILE@:``."""
    from pathlib import Path

    if names_all(source):
        return Path(source.removesuffix(ALL))
    return split_index(Path(source))[0]


def _refuse_model(path: "Path") -> None:
    if path.suffix == ".safetensors":
        raise ValueError(
            f"{path} is a model, expected a structure file: the order of arguments is "
            "MODEL STRUCTURE"
        )


def _checked(found: "Atoms", source: str) -> "Atoms":
    """The structure without labels, if the workflows support all that it holds."""
    from ase.constraints import FixAtoms

    from equipot.data.reading.geometry import check_geometry
    from equipot.data.reading.unknown_keys import reject_unknown_keys
    from equipot.data.unlabeled import without_labels

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
