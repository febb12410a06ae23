"""Events of extrapolation beyond the training set."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ExtrapolationEvent:
    """One way in which a potential extrapolates."""

    kind: str
    """``distance``, ``pair``, ``neighbors``, ``density``, ``energy``, ``force``,
    ``features`` or ``spread``."""
    subject: str
    """Elements concerned, such as ``H-O``, or the whole ``structure``."""
    atoms: tuple[int, ...]
    """Indices of the atoms; empty for the whole structure."""
    value: float
    """Value of the quantity."""
    limit: float
    """Limit of the quantity."""
    message: str
    """Message, with units."""

    def as_dict(self) -> dict[str, Any]:
        """Values of a row of a table."""
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
