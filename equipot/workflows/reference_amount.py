"""Reference amounts of extensive quantities: cell, molecule, formula unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms
from ase.formula import Formula


@dataclass(frozen=True)
class Contents:
    """Composition of a cell or a molecule.

    Attributes:
        formula: Formula in Hill order, such as ``C2H6O``.
        atoms: Number of atoms.
        unit: Reduced formula.
        units: Number of formula units.
    """

    formula: str
    atoms: int
    unit: str
    units: int

    @property
    def text(self) -> str:
        """Description such as ``Si2: 2 atoms, 2 formula units of Si``."""
        return (
            f"{self.formula}: {_many(self.atoms, 'atom')}, "
            f"{_many(self.units, 'formula unit')} of {self.unit}"
        )

    def record(self) -> dict[str, Any]:
        """All fields as plain values."""
        return {
            "formula": self.formula,
            "atoms": self.atoms,
            "formula_unit": self.unit,
            "formula_units": self.units,
        }


def contents(symbols: Sequence[str]) -> Contents:
    """Composition of a list of element symbols."""
    formula = Formula.from_list(symbols)
    unit, units = formula.reduce()
    return Contents(
        formula=f"{formula:hill}",
        atoms=len(symbols),
        unit=f"{unit:hill}",
        units=units,
    )


def reference_amount(atoms: Atoms, *, molecule: bool = False, fixed: int = 0) -> str:
    """Reference amount of an extensive quantity: ``per cell of Si8 (8 atoms)``.

    Args:
        atoms: Structure of the quantity.
        molecule: Whether it is an isolated molecule: ``per molecule of H2O``.
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
