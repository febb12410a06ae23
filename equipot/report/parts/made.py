"""Provenance of results, and the spread of the committee that they were made with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms

from equipot.storage.provenance import (
    ENERGY_SPREAD,
    FORCES_SPREAD,
    SECTION,
    Origin,
    stamp,
)
from equipot.workflows.committee import CommitteeSpread


@dataclass(frozen=True)
class Made:
    """What belongs to a result beside its numbers."""

    origin: Origin | None = None
    """None for results of potentials that are not of this package."""
    committee: tuple[CommitteeSpread, ...] = ()
    """Spread at some structures; empty for a single potential."""

    def record(self) -> dict[str, Any]:
        """Sections of a JSON file."""
        record: dict[str, Any] = {}
        if self.committee:
            record["committee"] = [spread.record() for spread in self.committee]
        if self.origin is not None:
            record[SECTION] = self.origin.record()
        return record

    def stamped(self, frames: Sequence[Atoms]) -> list[Atoms]:
        """Copies of structures with their results, and the origin in ``info``."""
        facts = {} if self.origin is None else self.origin.info()
        copies = []
        for frame in frames:
            copy = frame.copy()
            copy.calc = frame.calc
            stamp(copy.info, facts)
            copies.append(copy)
        return copies

    @property
    def header(self) -> dict[str, Any]:
        """Arguments of `render` about the committee and the origin."""
        sentences = (spread.sentence() for spread in self.committee)
        return {
            "paragraphs": [f"{text[0].upper()}{text[1:]}." for text in sentences],
            "footer": [] if self.origin is None else self.origin.lines(),
        }

    def comments(self) -> str:
        """First lines of a text file in which comments begin with ``#``."""
        lines = [] if self.origin is None else self.origin.lines()
        return "".join(f"# {' '.join(line.split())}\n" for line in lines)


UNKNOWN = Made()
"""Of a result without known origin."""


def with_spread(atoms: Atoms, spread: CommitteeSpread | None) -> Atoms:
    """A structure with ``energy_spread`` in eV and ``forces_spread`` in eV/Å.

    Args:
        atoms: Changed in place.
        spread: Of the committee at this structure; None for a single potential.
    """
    for place, key in ((atoms.info, ENERGY_SPREAD), (atoms.arrays, FORCES_SPREAD)):
        place.pop(key, None)
    if spread is not None:
        atoms.info[ENERGY_SPREAD] = spread.energy
        atoms.new_array(FORCES_SPREAD, spread.forces)
    return atoms
