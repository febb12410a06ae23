"""Extrapolation events outside the domain of validity."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ExtrapolationEvent:
    """One quantity of a structure or prediction outside the domain of validity."""

    kind: str
    """``distance``, ``pair``, ``neighbors``, ``density``, ``energy``, ``force``,
    ``features`` or ``spread``."""
    subject: str
    """Elements, such as ``H-O``, or the whole ``structure``."""
    atoms: tuple[int, ...]
    """Indices of the atoms; empty for the whole structure."""
    value: float
    """Value of the quantity."""
    limit: float
    """Limit of the quantity."""
    message: str
    """Message, with units."""

    def as_dict(self) -> dict[str, Any]:
        """Values for a table row."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "atoms": " ".join(map(str, self.atoms)),
            "value": self.value,
            "limit": self.limit,
            "message": self.message,
        }

    def __str__(self) -> str:
        return self.message
