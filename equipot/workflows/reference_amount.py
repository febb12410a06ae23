"""References of extensive quantities: cell, molecule, formula units."""

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


def per_what(atoms: Atoms, *, molecule: bool = False, fixed: int = 0) -> str:
    """Reference of an extensive quantity, such as ``per cell of Si8 (8 atoms)``.

    Args:
        atoms: Structure that the quantity belongs to.
        molecule: Whether it is a free molecule: ``per molecule of H2O``.
        fixed: Number of fixed atoms.
    """
    held = contents(atoms.get_chemical_symbols())
    if molecule:
        return f"per molecule of {held.formula}"
    phrase = "per cell of" if atoms.pbc.any() else "for"
    beside = f", {fixed} of them fixed" if fixed else ""
    return f"{phrase} {held.formula} ({_many(held.atoms, 'atom')}{beside})"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
