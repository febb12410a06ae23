"""Total energies against those of isolated atoms: of known ones, and of the files."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import ase.units
import numpy as np
from ase.data import chemical_symbols

from equipot.data.atomic_energies import LAST_EXACT, sum_of_free_atoms
from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding, counted, some
from equipot.data.chemistry import NOBLE

MIN_ENERGY_PER_ATOM = -16.0
"""Lowest plausible energy per atom in eV relative to isolated atoms: tungsten has -8.9,
and isolated atoms without spin polarization lie up to 5 eV too high."""
MAX_ENERGY_PER_ATOM = 10.0
"""The same that nothing is above whose atoms are a bond apart."""
UNBOUND = 2.0
"""The same that half of the structures are not above."""
ABOVE_ATOMS = 1.0
"""Energy per atom in eV beyond known isolated atoms up to which energies are theirs."""
APART = (0.75, 1.3)
"""Shortest distance over the sum of covalent radii of such structures."""
LIGHT, HEAVY = 0.003, 0.07
"""Relative error of the energies of isolated atoms, up to argon and beyond."""
UNITS: Final = {
    "Ha": ase.units.Hartree,
    "Ry": ase.units.Rydberg,
    "kcal/mol": ase.units.kcal / ase.units.mol,
    "kJ/mol": ase.units.kJ / ase.units.mol,
    "meV": 1e-3,
}
"""Size in eV."""


def check_total_energies(
    facts: Sequence[Facts], *, confirmed: bool
) -> Iterator[Finding]:
    """Findings about energies against the all-electron energies of isolated atoms.

    Args:
        facts: Structures of all files.
        confirmed: Whether forces have shown that the unit is eV.

    Yields:
        Errors for energies below what all electrons have, in another unit, or of other
        elements; otherwise whether anything is known.
    """
    labeled = [f for f in facts if np.isfinite(f.energy)]
    if not labeled:
        return
    energy = np.array([f.energy / f.num_atoms for f in labeled])
    atoms = np.array(
        [sum_of_free_atoms(f.numbers.tolist()) / f.num_atoms for f in labeled]
    )
    error = np.array(
        [HEAVY if f.numbers.max() > LAST_EXACT else LIGHT for f in labeled]
    )
    slack = error * np.abs(atoms)
    fits = {unit: _bound(energy * size, atoms, slack) for unit, size in UNITS.items()}
    best = max(fits, key=lambda unit: float(fits[unit].mean()))
    belongs = _bound(energy, atoms, slack)
    impossible = energy < atoms + MIN_ENERGY_PER_ATOM - slack
    if not confirmed and fits[best].mean() > 0.9 > belongs.mean():
        yield Finding(
            "error",
            "units",
            f"energies (about {np.median(energy):.6g} per atom) are the total energies "
            f"of all electrons in {best} ({np.median(atoms):.6g} eV): convert them to "
            "eV, or set data.units.energy (--energy-unit)",
        )
    elif impossible.any():
        n = int(np.argmin(energy - atoms + slack))
        yield Finding(
            "error",
            "energies",
            f"the energies of {counted(int(impossible.sum()), 'structure')} are lower "
            f"than those of all electrons (down to {energy[n]:.6g} eV per atom, free "
            f"atoms have {atoms[n]:.6g}): wrong elements, or another unit than eV",
            some([labeled[n].source for n in np.flatnonzero(impossible)]),
        )
    elif (np.abs(energy / atoms - 1) < 0.1).mean() > 0.5:
        yield from _all_electron(labeled, energy, atoms, belongs)
    else:
        yield Finding(
            "info",
            "energies",
            "unit not verified by magnitude: these are no all-electron energies, and "
            "the zero of energy of other methods is unknown. An exchange of two "
            "elements in all structures would not be detected",
        )


def _bound(energy: np.ndarray, atoms: np.ndarray, slack: np.ndarray) -> np.ndarray:
    """Whether energies per atom are those of atoms that are bound."""
    beyond = energy - atoms
    return np.asarray(
        (beyond > MIN_ENERGY_PER_ATOM - slack) & (beyond < ABOVE_ATOMS + slack)
    )


def _all_electron(
    facts: Sequence[Facts], energy: np.ndarray, atoms: np.ndarray, belongs: np.ndarray
) -> Iterator[Finding]:
    wrong = np.flatnonzero(
        ~belongs & (np.array([f.closeness for f in facts]) > APART[0])
    )
    if not len(wrong):
        yield Finding(
            "info",
            "energies",
            "total energies are those of all electrons of these elements, in eV",
        )
        return
    n = int(wrong[np.argmax(np.abs(energy - atoms)[wrong])])
    yield Finding(
        "error",
        "energies",
        f"the total energies of {counted(len(wrong), 'structure')} are not those of "
        f"their elements ({energy[n]:.6g} eV per atom, their isolated atoms have "
        f"{atoms[n]:.6g}): are elements exchanged, or electrons missing?",
        some([facts[k].source for k in wrong.tolist()]),
    )


def binding_energy(
    numbers: Sequence[int], energy: float, references: Mapping[int, float]
) -> float:
    """Energy per atom in eV, less that of isolated atoms."""
    return (energy - sum(references[z] for z in numbers)) / len(numbers)


def check_binding(
    facts: Sequence[Facts], references: Mapping[int, float]
) -> Iterator[Finding]:
    """Findings about energies that cannot belong to the isolated atoms.

    Args:
        facts: Structures of all files.
        references: Energy of isolated atoms in eV by atomic number.

    Yields:
        An error for binding energies that nothing has, otherwise their range.
    """
    labeled = [
        f
        for f in facts
        if np.isfinite(f.energy) and set(f.numbers.tolist()) <= set(references)
    ]
    if not labeled:
        return
    found = np.array(
        [binding_energy(f.numbers.tolist(), f.energy, references) for f in labeled]
    )
    bonded = np.array([APART[0] < f.closeness < APART[1] for f in labeled])
    noble = np.array([bool(NOBLE & set(f.numbers.tolist())) for f in labeled])
    judged = bonded & ~noble
    bad = (found < MIN_ENERGY_PER_ATOM) | (judged & (found > MAX_ENERGY_PER_ATOM))
    if judged.any() and np.median(found[judged]) > UNBOUND:
        bad |= judged & (found > UNBOUND)
    if bad.any():
        wrong = np.flatnonzero(bad)
        worst = int(wrong[np.argmax(np.abs(found[wrong]))])
        elements = sorted({z for n in wrong for z in labeled[n].composition})
        yield Finding(
            "error",
            "references",
            f"the energies of {counted(len(wrong), 'structure')} are "
            f"{found[bad].min():.4g} to {found[bad].max():.4g} eV per atom beyond "
            f"isolated atoms ({_energies(elements, references)}); bound atoms have "
            f"about -9 to 0, and nothing is below {MIN_ENERGY_PER_ATOM:g}: isolated "
            "atoms and structures are of different codes, pseudopotentials or units, "
            "or these "
            "are atomization energies",
            some([labeled[worst].source, *(labeled[n].source for n in wrong)]),
        )
    else:
        yield Finding(
            "info",
            "binding",
            f"energies of {found.min():.3g} to {found.max():.3g} eV per atom relative "
            "to isolated atoms are plausible; another level of theory of the isolated "
            "atoms is detected only if it shifts them by more than about 1 eV per atom",
        )


def _energies(elements: Sequence[int], references: Mapping[int, float]) -> str:
    shown = [f"{chemical_symbols[z]} {references[z]:.6g}" for z in elements[:6]]
    return ", ".join(shown) + (", ..." if len(elements) > 6 else "") + " eV"
