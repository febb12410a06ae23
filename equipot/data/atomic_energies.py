"""All-electron total energies of isolated atoms."""

from collections.abc import Iterable
from typing import Final

import ase.units

NONRELATIVISTIC_ENERGIES: Final = {
    1: -0.5,
    2: -2.903724,
    3: -7.478060,
    4: -14.667360,
    5: -24.653910,
    6: -37.845000,
    7: -54.589200,
    8: -75.067300,
    9: -99.733900,
    10: -128.937600,
    11: -162.254600,
    12: -200.053000,
    13: -242.346000,
    14: -289.359000,
    15: -341.259000,
    16: -398.110000,
    17: -460.148000,
    18: -527.540000,
}
"""Nonrelativistic total energies in Hartree. Source: Chakravorty, Gwaltney, Davidson,
Parpia and Froese Fischer, Phys. Rev. A 47, 3649 (1993), Table XI."""
MAX_EXACT_NUMBER: Final = 18
"""Largest atomic number in the table; relative errors are 0.2 % to it, 6 % beyond."""


def all_electron_energy(number: int) -> float:
    """All-electron energy of an isolated atom.

    Args:
        number: Atomic number.

    Returns:
        Energy in eV. Relative error: 0.2 % up to argon; beyond, 2 %, plus up to 4 % of
            missing relativistic effects in the heaviest elements.

    Source: beyond argon the expansion of Schwinger, Phys. Rev. A 24, 2353 (1981),
    E = -0.768745 Z^(7/3) + Z^2 / 2 - 0.269900 Z^(5/3) Hartree.
    """
    z = float(number)
    expansion = -0.768745 * z ** (7 / 3) + z**2 / 2 - 0.269900 * z ** (5 / 3)
    return NONRELATIVISTIC_ENERGIES.get(number, expansion) * ase.units.Hartree


def sum_of_all_electron_energies(numbers: Iterable[int]) -> float:
    """Sum of the all-electron energies in eV of the isolated atoms of a structure."""
    return sum(all_electron_energy(z) for z in numbers)
