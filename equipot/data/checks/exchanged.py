"""Exchanged chemical elements, in all structures or in a few."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Bool
from numpy import ndarray

from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding, counted, first_sources

MAX_BONDS: Final = {1: 1, 6: 4, 7: 4, 8: 2, 9: 1}
"""Maximum number of covalent bonds of H, C, N, O and F in neutral molecules."""
ORGANIC: Final = frozenset({1, 6, 7, 8, 9, 15, 16, 17, 35})
"""Elements that form single covalent bonds in organic molecules."""
MAX_SINGLE_BOND_RATIO_CARBON = 0.9
"""Distance over the sum of covalent radii below which a carbon atom with one bond is
accepted, as in CO."""
MAX_BOND_RATIO_HYDROGEN = 1.6
"""Distance over the sum of covalent radii above which hydrogen has no bond."""
MIN_ODD_ATOMS = 4
"""Minimum number of atoms with unusual bonds for a structure to be reported."""
MIN_ODD_FRACTION = 0.4
"""Minimum fraction of atoms with unusual bonds for a structure to be reported."""
MAX_ODD_ELEMENT_FRACTION = 0.25
"""Fraction of the atoms of an element that ions or transition states do not reach."""
MIN_STRUCTURES = 10
"""Minimum number of structures with the common elements to compare with."""
MAX_EXCEPTION_FRACTION = 0.1
"""Maximum fraction of structures that count as exceptions."""
MAX_ELEMENTS = 12
"""Maximum number of elements for which all pairwise exchanges are tried."""


def check_exchanged(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about elements that are exchanged.

    Args:
        facts: Structures of all files.

    Yields:
        Errors for elements with more or fewer bonds than they form, and for a few
        structures that equal the others after an exchange of two elements.
    """
    yield from _odd_bonds(facts)
    yield from _exceptions(facts)


def _odd_bonds(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about bonds that organic molecules do not have, overall or in a few."""
    total: Counter[int] = Counter()
    excess: Counter[int] = Counter()
    missing: Counter[int] = Counter()
    affected: list[Facts] = []
    for f in facts:
        if f.num_atoms < 3 or not set(f.numbers.tolist()) <= ORGANIC:
            continue
        odd = 0
        for z, most in MAX_BONDS.items():
            of_z = f.numbers == z
            too_many = int((f.bonds[of_z] > most).sum())
            too_few = int((of_z & _with_missing_bonds(f, z)).sum())
            total[z] += int(of_z.sum())
            excess[z] += too_many
            missing[z] += too_few
            odd += too_many + too_few
        if odd >= MIN_ODD_ATOMS and odd > MIN_ODD_FRACTION * f.num_atoms:
            affected.append(f)
    often = [
        f"{found[z]} of {total[z]} {chemical_symbols[z]} have {words}"
        for found, words in ((excess, "too many"), (missing, "too few"))
        for z in MAX_BONDS
        if total[z] and found[z] > MAX_ODD_ELEMENT_FRACTION * total[z]
    ]
    if often:
        yield Finding(
            "error",
            "elements",
            f"bonds that these elements do not form ({'; '.join(often)}): are elements "
            "exchanged, or is the unit of length wrong?",
        )
    elif affected:
        yield Finding(
            "error",
            "elements",
            f"most atoms of {counted(len(affected), 'structure')} have more or fewer "
            "bonds than their elements form: are elements exchanged?",
            first_sources([f.source for f in affected]),
        )


def _with_missing_bonds(f: Facts, z: int) -> Bool[ndarray, " atoms"]:
    """Atoms of hydrogen or carbon with fewer bonds than these elements have."""
    if z == 1:
        return np.asarray(f.nearest > MAX_BOND_RATIO_HYDROGEN)
    if z == 6:
        return np.asarray((f.bonds < 2) & (f.nearest > MAX_SINGLE_BOND_RATIO_CARBON))
    return np.zeros(f.num_atoms, dtype=bool)


def _exceptions(facts: Sequence[Facts]) -> Iterator[Finding]:
    orders = Counter(tuple(f.numbers.tolist()) for f in facts)
    found: list[Facts] = []
    pairs: Counter[str] = Counter()
    usual = [numbers for numbers, count in orders.items() if count >= MIN_STRUCTURES]
    for numbers in usual:
        elements = sorted(set(numbers))
        if not 2 <= len(elements) <= MAX_ELEMENTS:
            continue
        for a, b in combinations(elements, 2):
            other = _exchange(numbers, a, b)
            if not 0 < orders[other] <= MAX_EXCEPTION_FRACTION * orders[numbers]:
                continue
            found.extend(f for f in facts if tuple(f.numbers.tolist()) == other)
            pairs[f"{chemical_symbols[a]} and {chemical_symbols[b]}"] += 1
    if found:
        yield Finding(
            "error",
            "elements",
            f"{counted(len(found), 'structure')} would have the same atoms in the same "
            f"order as the others if {', '.join(pairs)} were exchanged: is the column "
            "of elements wrong?",
            first_sources([f.source for f in found]),
        )


def _exchange(numbers: tuple[int, ...], a: int, b: int) -> tuple[int, ...]:
    z = np.array(numbers)
    return tuple(np.where(z == a, b, np.where(z == b, a, z)).tolist())
