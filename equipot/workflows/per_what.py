"""What an energy is the energy of: words for cells, molecules and formula units."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms
from ase.formula import Formula


@dataclass(frozen=True)
class Contents:
    """What a cell or a molecule holds.

    Attributes:
        formula: Such as ``C2H6O``, in Hill's order.
        atoms: How many.
        unit: Formula with the smallest whole numbers.
        units: How many of them.
    """

    formula: str
    atoms: int
    unit: str
    units: int

    @property
    def text(self) -> str:
        """Such as ``Si2: 2 atoms, 2 formula units of Si``."""
        return (
            f"{self.formula}: {_many(self.atoms, 'atom')}, "
            f"{_many(self.units, 'formula unit')} of {self.unit}"
        )

    def record(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "formula": self.formula,
            "atoms": self.atoms,
            "formula_unit": self.unit,
            "formula_units": self.units,
        }


def contents(symbols: Sequence[str]) -> Contents:
    """What a list of elements amounts to."""
    formula = Formula.from_list(symbols)
    unit, units = formula.reduce()
    return Contents(
        formula=f"{formula:hill}",
        atoms=len(symbols),
        unit=f"{unit:hill}",
        units=units,
    )


def per_what(atoms: Atoms) -> str:
    """Such as ``per cell of Si8 (8 atoms)``, or ``for C2H6O (9 atoms)``."""
    held = contents(atoms.get_chemical_symbols())
    phrase = "per cell of" if atoms.pbc.any() else "for"
    return f"{phrase} {held.formula} ({_many(held.atoms, 'atom')})"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
