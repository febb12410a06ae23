"""`Structure`: atoms and their labels."""

from dataclasses import dataclass
from typing import Final

from ase import Atoms

from equipot.data.labels import Labels

ISOLATED: Final = "IsolatedAtom"
"""Group of structures that are reference energies of an element."""


@dataclass(frozen=True)
class Structure:
    """Atoms as a file holds them, and the labels that were asked for."""

    atoms: Atoms
    """Structure; whatever else the file says of it is in ``info`` and ``arrays``."""
    labels: Labels
    """Labels in the package's units; NaN where the file has none."""
    config_type: str
    """Group that errors are reported for."""
    source: str
    """File and frame, such as ``train.xyz#12``."""
    ignored: bool = False
    """Whether its weight is 0: nothing is learned from it or compared with it."""

    @property
    def isolated(self) -> bool:
        """Whether this is the reference energy of an element."""
        return self.config_type == ISOLATED

    @property
    def has(self) -> frozenset[str]:
        """Labels that are there: of energy, forces, stress."""
        return frozenset(
            name
            for name in ("energy", "forces", "stress")
            if not getattr(self.labels, name).isnan().all()
        )
