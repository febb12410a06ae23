"""Elements that stand in each other's place, in all structures or in a few."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

import numpy as np
from ase.data import chemical_symbols

from equipot.data.facts import Facts
from equipot.data.findings import Finding, counted, some

MOST_BONDS: Final = {1: 1, 6: 4, 7: 4, 8: 2, 9: 1}
"""Covalent bonds that H, C, N, O and F form at most, ions left aside."""
ORGANIC: Final = frozenset({1, 6, 7, 8, 9, 15, 16, 17, 35})
"""Elements whose bonds to each other are covalent and single in number."""
OFTEN = 0.25
"""Share of the atoms of an element that cannot all be ions or in transition."""
FEWEST = 10
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
        Errors for elements with more bonds than they form, and for a few structures
        that are as the others after an exchange of two elements.
    """
    yield from _too_many_bonds(facts)
    yield from _exceptions(facts)


def _too_many_bonds(facts: Sequence[Facts]) -> Iterator[Finding]:
    total: Counter[int] = Counter()
    beyond: Counter[int] = Counter()
    for f in facts:
        if not set(f.numbers.tolist()) <= ORGANIC:
            continue
        for z, most in MOST_BONDS.items():
            of_z = f.bonds[f.numbers == z]
            total[z] += len(of_z)
            beyond[z] += int((of_z > most).sum())
    wrong = [z for z in MOST_BONDS if total[z] and beyond[z] > OFTEN * total[z]]
    if wrong:
        texts = [
            f"{beyond[z]} of {total[z]} {chemical_symbols[z]} have more than "
            f"{MOST_BONDS[z]}"
            for z in wrong
        ]
        yield Finding(
            "error",
            "elements",
            f"atoms with more bonds than their element forms ({'; '.join(texts)}): are "
            "elements exchanged, or is the unit of length wrong?",
        )


def _exceptions(facts: Sequence[Facts]) -> Iterator[Finding]:
    orders = Counter(tuple(f.numbers.tolist()) for f in facts)
    found: list[Facts] = []
    pairs: Counter[str] = Counter()
    usual = [numbers for numbers, count in orders.items() if count >= FEWEST]
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
