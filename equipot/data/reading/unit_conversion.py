"""Conversion from the units of a file to eV and Å."""

from typing import Final

import ase.units
import numpy as np
from ase import Atoms

from equipot.config.label_units import UnitsConfig

SIZES: Final = {
    "eV": 1.0,
    "meV": 1e-3,
    "Ha": ase.units.Hartree,
    "Ry": ase.units.Rydberg,
    "kcal/mol": ase.units.kcal / ase.units.mol,
    "kJ/mol": ase.units.kJ / ase.units.mol,
    "Å": 1.0,
    "bohr": ase.units.Bohr,
    "nm": 10.0,
    "Pa": ase.units.Pascal,
    "MPa": 1e6 * ase.units.Pascal,
    "GPa": ase.units.GPa,
    "bar": ase.units.bar,
    "kbar": 1e3 * ase.units.bar,
}
"""Value of a unit in eV, Å or eV/Å^3 (CODATA 2014, as in ASE)."""


def size_of(unit: str) -> float:
    """Value of a unit in eV and Å.

    Args:
        unit: Unit, such as ``"kcal/mol/Å"``, ``"Ha/bohr^3"`` or ``"GPa"``.

    Returns:
        Value in eV, Å, eV/Å or eV/Å^3.
    """
    if unit in SIZES:
        return SIZES[unit]
    energy, _, length = unit.rpartition("/")
    name, _, power = length.partition("^")
    return float(SIZES[energy] / SIZES[name] ** int(power or 1))


def converted_geometry(atoms: Atoms, units: UnitsConfig) -> Atoms:
    """Structure with positions and cell in Å; the same object if no unit is given."""
    if units.length == "Å":
        return atoms
    size = size_of(units.length)
    converted = atoms.copy()
    converted.calc = atoms.calc
    converted.set_cell(np.asarray(atoms.cell.array) * size)
    converted.positions = np.asarray(atoms.positions) * size
    return converted
