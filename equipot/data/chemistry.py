"""Limits of bond stiffness, bond length and bond energy."""

import math
from typing import Final

from ase.data import chemical_symbols

NOBLE_GASES: Final = frozenset({2, 10, 18, 36, 54, 86})
"""Atomic numbers of noble gases."""
NONMETALS: Final = frozenset({1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})
"""Atomic numbers of elements that form covalent bonds with each other."""
ELEMENTS_BY_STIFFNESS: Final = {
    4.0: "Li Na K Rb Cs Fr",
    10.0: "Mg Ca Sr Ba Zn Cd Hg",
    15.0: "Ga In Tl Sn Pb Bi La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu",
    20.0: "Sc Y Cu Ag Au Th Pa U Np Pu",
    25.0: "Be Al Sb Te",
    40.0: "H F Cl Br I Ge As Se",
    55.0: "Si P S",
    70.0: "B",
    90.0: "C N O",
}
"""Stiffness of a bond between two atoms of an element times the squared length, in eV.
Measured on labeled sets of molecules, metals, oxides and salts, with an error factor of
2.5 (for stretching force constants of molecules see Herzberg, Molecular Spectra and
Molecular Structure)."""
DEFAULT_STIFFNESS: Final = 35.0
"""The same for all other elements, which are transition metals."""
_STIFFNESS: Final = {
    chemical_symbols.index(symbol): strength
    for strength, symbols in ELEMENTS_BY_STIFFNESS.items()
    for symbol in symbols.split()
}


def expected_stiffness(z1: int, z2: int) -> float:
    """Stiffness of a bond times the square of its length.

    Args:
        z1: Atomic number of the first atom.
        z2: Atomic number of the second atom.

    Returns:
        Geometric mean for the two elements in eV; the error is a factor of about 2.5.
    """
    return math.sqrt(
        _STIFFNESS.get(z1, DEFAULT_STIFFNESS) * _STIFFNESS.get(z2, DEFAULT_STIFFNESS)
    )
