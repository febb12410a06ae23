"""Options that several commands share."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from equipot.config.data import KeysConfig
    from equipot.config.label_units import UnitsConfig

INTERRUPTED = 130
"""Exit status of a run that was stopped by a signal and can be resumed."""


def counted(number: int, noun: str) -> str:
    """Such as ``1 step`` or ``2 steps``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def flag(*names: str, help: str) -> Any:
    """An option without a value; `--help` shows none.

    Args:
        names: Of the option, such as ``--resume`` or ``--relax/--no-relax``.
        help: Text of `--help`.
    """
    return typer.Option(*names, help=help, metavar="")


Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a value of the configuration, such as seed=1 or section.key=2; "
        "repeatable.",
    ),
]
Resume = Annotated[
    bool,
    flag("--resume", help="Continue the interrupted run in the output folder."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto (cuda if available).")]
Precision = Annotated[
    str | None,
    typer.Option(help="float32 or float64.", show_default="as trained"),
]
Backend = Annotated[
    str | None,
    typer.Option(
        help="Tensor-product backend; auto selects the fastest.",
        show_default="as trained",
    ),
]
EnergyKey = Annotated[
    str | None,
    typer.Option(help="Name of the energy in the files.", show_default="REF_energy"),
]
ForcesKey = Annotated[
    str | None,
    typer.Option(help="Name of the forces in the files.", show_default="REF_forces"),
]
StressKey = Annotated[
    str | None,
    typer.Option(help="Name of the stress in the files.", show_default="REF_stress"),
]
VirialsKey = Annotated[
    str | None,
    typer.Option(help="Name of the virials in the files, read instead of the stress."),
]
EnergyUnit = Annotated[
    str | None,
    typer.Option(
        help="Unit of energies in the files: eV, kcal/mol, Ha, ...", show_default="eV"
    ),
]
ForcesUnit = Annotated[
    str | None,
    typer.Option(
        help="Unit of forces in the files: eV/Å, Ha/bohr, ...", show_default="eV/Å"
    ),
]
LengthUnit = Annotated[
    str | None,
    typer.Option(
        help="Unit of positions and cells in the files: Å, bohr or nm.",
        show_default="Å",
    ),
]
StressUnit = Annotated[
    str | None,
    typer.Option(
        help="Unit of stress in the files: eV/Å^3, GPa, kbar, ...",
        show_default="eV/Å^3",
    ),
]


def units_config(**units: str | None) -> "UnitsConfig":
    """Units of labels, with defaults for those that were not given.

    Raises:
        ValueError: If a unit is unknown, or that of the forces is missing.
    """
    from pydantic import ValidationError

    from equipot.config.label_units import UnitsConfig

    given = {label: unit for label, unit in units.items() if unit}
    try:
        return UnitsConfig.model_validate(given)
    except ValidationError as error:
        texts = [
            f"--{e['loc'][0]}-unit: {e['msg']}" if e["loc"] else e["msg"]
            for e in error.errors()
        ]
        raise ValueError("; ".join(texts)) from error


def keys_config(**keys: str | None) -> "KeysConfig":
    """Names of labels, with defaults for those that were not given."""
    from equipot.config.data import KeysConfig

    return KeysConfig(**{label: key for label, key in keys.items() if key})
