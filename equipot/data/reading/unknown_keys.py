"""Reject unknown keys that may fix atoms or change masses."""

import re
from typing import Final

from ase import Atoms

from equipot.data.reading.errors import DataError

FIXED_NAMES: Final = re.compile(
    r"(?:is|to)?(?:fix|fixed|freeze|frozen|hold|held|mobile|movable|moveable|move|moves"
    r"|mobility|constrain|constrained|constraints?|selectivedynamics|selective)"
    r"(?:atoms?|mask|flags?|xyz|ids?|indices|index)?"
)
"""Names, without separators, of columns and keys that may specify fixed atoms."""
MASS_NAMES: Final = re.compile(
    r"isotopes?|massnumbers?|(?:isotop\w*|nuclear)mass(?:es)?"
)
"""Names, without separators, of columns and keys that may specify masses."""


def reject_unknown_keys(atoms: Atoms, source: str) -> None:
    """Reject unknown columns and keys that may fix atoms or change masses.

    Args:
        atoms: Structure from a file.
        source: File, for messages.

    Raises:
        DataError: If there is such a column or key; the message has the supported one.
    """
    held = _first(atoms, FIXED_NAMES)
    if held is not None:
        raise DataError(
            f"{source}: the {held} is ambiguous: write which atoms may move as a "
            "column move_mask:L:1, T or F, or remove it"
        )
    mass = _first(atoms, MASS_NAMES)
    if mass is None and len(atoms) > 1 and "masses" in atoms.info:
        mass = "key masses"
    if mass is not None:
        raise DataError(
            f"{source}: the {mass} is ambiguous: write the masses of the atoms in "
            "u as a column masses:R:1, or remove it"
        )


def _first(atoms: Atoms, pattern: re.Pattern[str]) -> str | None:
    places = (("column", atoms.arrays), ("key", atoms.info))
    for kind, place in places:
        for name in map(str, place):
            if pattern.fullmatch(re.sub("[^a-z0-9]", "", name.lower())):
                return f"{kind} {name[:40]}"
    return None
