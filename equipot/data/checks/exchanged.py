"""Elements that stand in each other's place, in all structures or in a few."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Bool
from numpy import ndarray

from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding, counted, some

MOST_BONDS: Final = {1: 1, 6: 4, 7: 4, 8: 2, 9: 1}
"""Covalent bonds that H, C, N, O and F form at most, ions left aside."""
ORGANIC: Final = frozenset({1, 6, 7, 8, 9, 15, 16, 17, 35})
"""Elements whose bonds to each other are covalent and single in number."""
TRIPLE = 0.9
"""Distance over the sum of covalent radii below which a carbon may have one bond, as in
CO and its like."""
UNBOUND = 1.6
"""The same beyond which a hydrogen has none."""
FEWEST_ODD = 4
"""Atoms with odd bonds that spoil a structure."""
SPOILT = 0.4
"""Share of the atoms of a structure with odd bonds that spoils it."""
OFTEN = 0.25
"""Share of the atoms of an element that cannot all be ions or in transition."""
MIN_ATOMS = 10
"""Structures with the usual elements that a rare one is compared with."""
RARE = 0.1
"""Share of structures up to which they are exceptions."""
MOST_ELEMENTS = 12
"""Elements up to which every exchange of two is tried."""


def check_exchanged(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about elements that are exchanged.

    Args:
        facts: Structures of all files.

    Yields:
        Errors for elements with more or fewer bonds than they form, and for a few
        structures that are as the others after an exchange of two elements.
    """
    yield from _odd_bonds(facts)
    yield from _exceptions(facts)


def _odd_bonds(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about bonds that organic molecules do not have, overall or in some."""
    total: Counter[int] = Counter()
    beyond: Counter[int] = Counter()
    lonely: Counter[int] = Counter()
    affected: list[Facts] = []
    for f in facts:
        if f.num_atoms < 3 or not set(f.numbers.tolist()) <= ORGANIC:
            continue
        odd = 0
        for z, most in MOST_BONDS.items():
            of_z = f.numbers == z
            too_many = int((f.bonds[of_z] > most).sum())
            too_few = int((of_z & _lonely(f, z)).sum())
            total[z] += int(of_z.sum())
            beyond[z] += too_many
            lonely[z] += too_few
            odd += too_many + too_few
        if odd >= FEWEST_ODD and odd > SPOILT * f.num_atoms:
            affected.append(f)
    often = [
        f"{found[z]} of {total[z]} {chemical_symbols[z]} have {words}"
        for found, words in ((beyond, "too many"), (lonely, "too few"))
        for z in MOST_BONDS
        if total[z] and found[z] > OFTEN * total[z]
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
            some([f.source for f in affected]),
        )


def _lonely(f: Facts, z: int) -> Bool[ndarray, " atoms"]:
    """Atoms with fewer bonds than hydrogen and carbon have."""
    if z == 1:
        return np.asarray(f.nearest > UNBOUND)
    if z == 6:
        return np.asarray((f.bonds < 2) & (f.nearest > TRIPLE))
    return np.zeros(f.num_atoms, dtype=bool)


def _exceptions(facts: Sequence[Facts]) -> Iterator[Finding]:
    orders = Counter(tuple(f.numbers.tolist()) for f in facts)
    found: list[Facts] = []
    pairs: Counter[str] = Counter()
    usual = [numbers for numbers, count in orders.items() if count >= MIN_ATOMS]
    for numbers in usual:
        elements = sorted(set(numbers))
        if not 2 <= len(elements) <= MOST_ELEMENTS:
            continue
        for a, b in combinations(elements, 2):
            other = _exchange(numbers, a, b)
            if not 0 < orders[other] <= RARE * orders[numbers]:
                continue
            found.extend(f for f in facts if tuple(f.numbers.tolist()) == other)
            pairs[f"{chemical_symbols[a]} and {chemical_symbols[b]}"] += 1
    if found:
        yield Finding(
            "error",
            "elements",
            f"{counted(len(found), 'structure')} would hold the same atoms in the same "
            f"order as the others if {', '.join(pairs)} were exchanged: is a column "
            "of elements wrong?",
            some([f.source for f in found]),
        )


def _exchange(numbers: tuple[int, ...], a: int, b: int) -> tuple[int, ...]:
    z = np.array(numbers)
    return tuple(np.where(z == a, b, np.where(z == b, a, z)).tolist())
