"""Chemical symbols of files: in any case, and isotopes of hydrogen."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from jaxtyping import Float, Int

from equipot.data.reading.errors import DataError

ISOTOPES: Final = {"D": 2.01410177812, "T": 3.01604928199}
"""Masses in u of deuterium and tritium.

Source: AME2020, M. Wang et al., Chinese Physics C 45, 030003 (2021)."""
ISOTOPE_MASS_TOLERANCE: Final = 0.05
"""Tolerance in u within which a mass is that of an isotope."""
ELEMENT_MASS_TOLERANCE: Final = 0.5
"""Difference in u above which a mass is that of an isotope or of another element."""


def read_symbols(
    symbols: Sequence[str],
) -> tuple[Int[np.ndarray, " atoms"], Float[np.ndarray, " atoms"] | None]:
    """Atomic numbers of symbols, and masses if there are isotopes.

    Args:
        symbols: Symbols such as ``Si``, ``si``, ``SI``, or ``D`` for deuterium.

    Returns:
        Atomic numbers, and masses in u of all atoms, or None without isotopes.

    Raises:
        DataError: If a symbol is not an element, such as a dummy atom or ``C1``.
    """
    table = {s: _number(s, symbols) for s in dict.fromkeys(symbols)}
    numbers = np.array([table[s] for s in symbols], dtype=int)
    if not any(s.upper() in ISOTOPES for s in table):
        return numbers, None
    masses = atomic_masses[numbers]
    for n, symbol in enumerate(symbols):
        masses[n] = ISOTOPES.get(symbol.upper(), masses[n])
    return numbers, masses


def set_isotopes(atoms: Atoms, masses: Float[np.ndarray, " atoms"] | None) -> None:
    """Set the masses of isotopes.

    Args:
        atoms: Structure, modified in place.
        masses: Masses returned by `read_symbols`.

    Raises:
        DataError: If the atoms already have contradicting masses.
    """
    if masses is None:
        return
    if "masses" not in atoms.arrays:
        atoms.set_masses(masses)
        return
    known = atoms.arrays["masses"]
    wrong = (atoms.numbers == 1) & (np.abs(known - masses) > ISOTOPE_MASS_TOLERANCE)
    if wrong.any():
        n = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"atom {n} has the mass {known[n]:g} u, but its symbol is that of an "
            f"isotope of {masses[n]:.4g} u; correct one of them"
        )


def check_element(symbol: str, mass: str) -> None:
    """Reject symbols that an ASE reader does not support, and masses that it drops."""
    numbers, isotopes = read_symbols([symbol])
    expected = chemical_symbols[numbers[0]]
    if isotopes is not None:
        raise DataError(
            f"the element {symbol} is supported in extxyz and CIF only; convert it"
        )
    if symbol != expected:
        raise DataError(f"the element is written {symbol}; write {expected}")
    try:
        different = (
            abs(float(mass) - atomic_masses[numbers[0]]) > ELEMENT_MASS_TOLERANCE
        )
    except ValueError:
        return  # no mass
    if different:
        raise DataError(
            f"{symbol} has the mass {mass[:20]} u, which the reader drops; convert "
            "the file to extxyz with a column masses:R:1"
        )


def _number(symbol: str, symbols: Sequence[str]) -> int:
    if symbol.upper() in ISOTOPES:
        return 1
    number = atomic_numbers.get(symbol.capitalize(), 0)
    if 0 < number < len(chemical_symbols):
        return number
    where = f"atom {list(symbols).index(symbol)}"
    if symbol.upper() in ("X", "XX", "DU", "Q", "BQ", "VA", "VAC"):
        raise DataError(
            f"{where} is {symbol!r}, a dummy atom or an empty site; remove it, or "
            "write the element if it is one"
        )
    raise DataError(
        f"{where} is {symbol[:40]!r}, which is not an element; write symbols such as "
        "Cu, without numbers or charges"
    )
