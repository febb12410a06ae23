"""Atoms with their labels."""

from dataclasses import dataclass
from typing import Final

from ase import Atoms

from equipot.data.labels import Labels

ISOLATED: Final = "IsolatedAtom"
"""Group of structures with the reference energy of an element."""


@dataclass(frozen=True)
class Structure:
    """Atoms of a file, with the configured labels."""

    atoms: Atoms
    """Structure; all other data of the file are in ``info`` and ``arrays``."""
    labels: Labels
    """Labels in eV and Å; NaN where the file has none."""
    config_type: str
    """Group for which errors are reported."""
    source: str
    """File and index of the frame, such as ``train.xyz#12``."""
    ignored: bool = False
    """Whether its weight is 0: it is excluded from training and from errors."""

    @property
    def isolated(self) -> bool:
        """Whether this is the reference energy of an element."""
        return self.config_type == ISOLATED

    @property
    def has(self) -> frozenset[str]:
        """Names of the available labels: energy, forces, stress."""
        return frozenset(
            name
            for name in ("energy", "forces", "stress")
            if not getattr(self.labels, name).isnan().all()
        )
