"""Refuses what may hold atoms or change masses, and is not understood."""

import re
from typing import Final

from ase import Atoms

from equipot.data.reading.errors import DataError

HELD: Final = re.compile(
    r"(?:is|to)?(?:fix|fixed|freeze|frozen|hold|held|mobile|movable|moveable|move|moves"
    r"|mobility|constrain|constrained|constraints?|selectivedynamics|selective)"
    r"(?:atoms?|mask|flags?|xyz|ids?|indices|index)?"
)
"""Names, without signs, of columns and keys that may say which atoms are fixed."""
MASS: Final = re.compile(r"isotopes?|massnumbers?|(?:isotop\w*|nuclear)mass(?:es)?")
"""Names, without signs, of columns and keys that may be masses."""


def refuse_unclear(atoms: Atoms, source: str) -> None:
    """Refuse columns and keys that change how atoms move, but not by a known name.

    Args:
        atoms: Structure as a file holds it.
        source: File for messages.

    Raises:
        DataError: If there is such a column or key; says what to write.
    """
    held = _first(atoms, HELD)
    if held is not None:
        raise DataError(
            f"{source}: the {held} is not understood: write which atoms may move as a "
            "column move_mask:L:1, T or F, or remove it"
        )
    mass = _first(atoms, MASS)
    if mass is None and len(atoms) > 1 and "masses" in atoms.info:
        mass = "key masses"
    if mass is not None:
        raise DataError(
            f"{source}: the {mass} is not understood: write the masses of the atoms in "
            "u as a column masses:R:1, or remove it"
        )


def _first(atoms: Atoms, pattern: re.Pattern[str]) -> str | None:
    places = (("column", atoms.arrays), ("key", atoms.info))
    for kind, place in places:
        for name in map(str, place):
            if pattern.fullmatch(re.sub("[^a-z0-9]", "", name.lower())):
                return f"{kind} {name[:40]}"
    return None
