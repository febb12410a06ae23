"""Options that several commands share."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from equipot.config.data import KeysConfig
    from equipot.config.label_units import UnitsConfig

INTERRUPTED = 130
"""Exit status of a run that was stopped by a signal and can be resumed."""

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
    bool, typer.Option("--resume", help="Continue the run in the output folder.")
]
EnergyKey = Annotated[
    str | None,
    typer.Option(help="Key of the energy in the files.", show_default="REF_energy"),
]
ForcesKey = Annotated[
    str | None,
    typer.Option(help="Key of the forces.", show_default="REF_forces"),
]
StressKey = Annotated[
    str | None,
    typer.Option(help="Key of the stress.", show_default="REF_stress"),
]
VirialsKey = Annotated[
    str | None,
    typer.Option(help="Key of the virials, used instead of the stress."),
]
EnergyUnit = Annotated[
    str | None,
    typer.Option(help="Unit of energies in the files, such as Ha.", show_default="eV"),
]
ForcesUnit = Annotated[
    str | None,
    typer.Option(help="Unit of forces, such as Ha/bohr.", show_default="eV/Å"),
]
LengthUnit = Annotated[
    str | None,
    typer.Option(help="Unit of positions and cells: Å, bohr or nm.", show_default="Å"),
]
StressUnit = Annotated[
    str | None,
    typer.Option(help="Unit of stress, such as GPa.", show_default="eV/Å^3"),
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
