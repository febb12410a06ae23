"""Find duplicate structures within a file and between files."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from ase.geometry import find_mic

from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding, Severity, counted, first_sources

FINGERPRINT_TOLERANCE = 5e-4
"""Maximum difference between the fingerprints of equal structures."""
ORIENTATION_TOLERANCE = 1e-4
"""Difference of orientations above which a duplicate counts as rotated."""
MAX_ENERGY_DIFFERENCE = 1e-3
"""Energy difference in eV/atom above which duplicates contradict each other."""


def find_duplicates(facts: Sequence[Facts]) -> list[tuple[Facts, Facts]]:
    """Pairs of structures equal up to translation, rotation and order of atoms.

    Args:
        facts: Structures to compare.

    Returns:
        Each pair once, the earlier structure first. A structure that occurs n times
        yields n - 1 pairs, each with its first occurrence.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for n, f in enumerate(facts):
        groups[*f.structure.atoms.pbc.astype(int).tolist(), *f.composition].append(n)
    pairs: list[tuple[int, int]] = []
    for members in groups.values():
        pairs.extend(_pairs_within(facts, members))
    found = [(facts[a], facts[b]) for a, b in sorted(pairs)]
    return [(a, b) for a, b in found if _literal(a, b) or _same_forces(a, b)]


def check_duplicates(facts: Sequence[Facts], *, pooled: bool) -> Iterator[Finding]:
    """Findings about duplicate structures.

    Args:
        facts: Structures of all files.
        pooled: The files are parts of one data set, so duplicates are no leakage.

    Yields:
        Leakage between files, repetition within a file, contradicting labels.
    """
    pairs = find_duplicates(facts)
    across = [(a, b) for a, b in pairs if a.file != b.file]
    copies = [p for p in across if _same_orientation(*p)]
    if copies and not pooled:
        yield _finding(
            "error",
            "leakage",
            copies,
            "of one file found in another as well: errors on such a test set "
            "are too low; remove them from one (or pass --pooled if the files are one "
            "set)",
        )
    if copies and pooled:
        yield _finding("warning", "repetition", copies, "found in two of the files")
    if turned := [p for p in across if not _same_orientation(*p)]:
        yield _finding(
            "warning",
            "leakage",
            turned,
            "of one file found in another as well, rotated or mirrored "
            "(common for strained crystals); the potential does not distinguish them",
        )
    if inside := [(a, b) for a, b in pairs if a.file == b.file]:
        number = sum(_same_orientation(*p) for p in inside)
        yield _finding(
            "warning" if number else "info",
            "repetition",
            inside,
            f"found again in the same file ({number} identically oriented, the others "
            "rotated or mirrored): they have a larger weight, and a random split puts "
            "them on both sides",
        )
    contradicting = [p for p in pairs if _disagreement(*p) > MAX_ENERGY_DIFFERENCE]
    if contradicting:
        worst = max(_disagreement(*p) for p in contradicting)
        yield _finding(
            "error" if any(_same_orientation(*p) for p in contradicting) else "warning",
            "contradiction",
            contradicting,
            f"found twice with different energies (by up to "
            f"{worst * 1e3:.3g} meV/atom): no potential can fit both",
        )


def _finding(
    severity: Severity, check: str, pairs: Sequence[tuple[Facts, Facts]], text: str
) -> Finding:
    sources = [f"{a.source} = {b.source}" for a, b in pairs]
    return Finding(
        severity,
        check,
        f"{counted(len(pairs), 'structure')} {text}",
        first_sources(sources),
    )


def _literal(a: Facts, b: Facts) -> bool:
    """Whether atoms have the same order and positions, up to a translation."""
    first, second = a.structure.atoms, b.structure.atoms
    if not np.array_equal(first.numbers, second.numbers):
        return False
    if not np.allclose(first.cell.array, second.cell.array, rtol=0, atol=1e-3):
        return False
    shift = first.positions - second.positions
    vectors, _ = find_mic(shift - shift[0], first.cell, first.pbc)
    return bool(np.abs(vectors).max() < 1e-3)


def _same_forces(a: Facts, b: Facts) -> bool:
    """Whether the magnitudes of the forces agree, or are not available.

    Fingerprints do not distinguish all orderings on an ideal lattice; forces do.
    """
    first, second = (np.sort(np.linalg.norm(f.forces, axis=1)) for f in (a, b))
    return not np.abs(first - second).max() > 0.02 * (1 + first.max())


def _same_orientation(a: Facts, b: Facts) -> bool:
    return _literal(a, b) or bool(
        np.abs(a.orientation - b.orientation).max() < ORIENTATION_TOLERANCE
    )


def _disagreement(a: Facts, b: Facts) -> float:
    """Difference of the energies in eV/atom; NaN if one is absent."""
    return abs(a.energy - b.energy) / a.num_atoms


def _pairs_within(facts: Sequence[Facts], members: list[int]) -> list[tuple[int, int]]:
    """Pairs of equal structures among those of one composition.

    Structures are sorted by the mean of their fingerprints, so that only neighbors
    in this order are compared.
    """
    prints = np.stack([facts[n].fingerprint for n in members])
    line = prints.mean(axis=1)
    order = np.argsort(line, kind="stable")
    last = np.searchsorted(
        line[order], line[order] + FINGERPRINT_TOLERANCE, side="right"
    )
    first_of = list(range(len(members)))
    for k, end in enumerate(last.tolist()):
        a = order[k]
        near = order[k + 1 : end]
        same = near[
            np.abs(prints[near] - prints[a]).max(axis=1) < FINGERPRINT_TOLERANCE
        ]
        for b in same.tolist():
            root = min(first_of[a], first_of[b], int(a), b)
            first_of[a] = first_of[b] = root
    return [(members[r], members[n]) for n, r in enumerate(first_of) if r != n]
