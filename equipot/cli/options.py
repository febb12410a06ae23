"""Options that several commands share."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from equipot.config.data import KeysConfig

INTERRUPTED = 130
"""Exit status of a run that was stopped by a signal and can be resumed."""

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of the configuration, such as seed=1 or section.key=2; "
        "repeatable.",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in the output folder.")
]
EnergyKey = Annotated[
    str | None,
    typer.Option(help="Name of the energy in the files.", show_default="REF_energy"),
]
ForcesKey = Annotated[
    str | None,
    typer.Option(help="Name of the forces.", show_default="REF_forces"),
]
StressKey = Annotated[
    str | None,
    typer.Option(help="Name of the stress.", show_default="REF_stress"),
]
VirialsKey = Annotated[
    str | None,
    typer.Option(help="Name of the virials, if they take the place of the stress."),
]


def keys_config(**keys: str | None) -> "KeysConfig":
    """Names of labels, with defaults for those that were not given."""
    from equipot.config.data import KeysConfig

    return KeysConfig(**{label: key for label, key in keys.items() if key})
