"""How files of results say what made them, and how far a committee was apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms

from equipot.report.parts.markup import Markup, join, tag
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
    """Structures at which the members were asked; none for a single potential."""

    def record(self) -> dict[str, Any]:
        """Sections of a JSON file."""
        record: dict[str, Any] = {}
        if self.committee:
            record["committee"] = [spread.record() for spread in self.committee]
        if self.origin is not None:
            record[SECTION] = self.origin.record()
        return record

    def stamped(self, frames: Sequence[Atoms]) -> list[Atoms]:
        """Copies of structures that say what made them; results go with them."""
        facts = {} if self.origin is None else self.origin.info()
        copies = []
        for frame in frames:
            copy = frame.copy()
            copy.calc = frame.calc
            stamp(copy.info, facts)
            copies.append(copy)
        return copies

    def sentences(self) -> Markup:
        """Paragraphs about the committee, for the top of a page."""
        return join(*(tag("p", _sentence(spread)) for spread in self.committee))

    def comments(self) -> str:
        """First lines of a text file in which comments begin with ``#``."""
        lines = [] if self.origin is None else self.origin.lines()
        return "".join(f"# {' '.join(line.split())}\n" for line in lines)

    def footer(self) -> Markup:
        """End of a page."""
        return footer(self.origin)


UNKNOWN = Made()
"""Of a result that nothing more is known about."""


def footer(origin: Origin | None) -> Markup:
    """End of a page: version, date, models and inputs; nothing if they are unknown."""
    if origin is None:
        return Markup("")
    return tag("footer", *(tag("p", line) for line in origin.lines()))


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


def _sentence(spread: CommitteeSpread) -> str:
    text = spread.sentence()
    return f"{text[0].upper()}{text[1:]}."
