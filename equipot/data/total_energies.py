"""Compare total energies with all-electron and with given isolated-atom energies."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import ase.units
import numpy as np
from ase.data import chemical_symbols

from equipot.data.atomic_energies import MAX_EXACT_NUMBER, sum_of_all_electron_energies
from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding, counted, first_sources
from equipot.data.chemistry import NOBLE_GASES

MIN_ENERGY_PER_ATOM = -16.0
"""Lowest plausible energy per atom in eV relative to isolated atoms: tungsten has -8.9,
and isolated atoms without spin polarization are up to 5 eV too high."""
MAX_ENERGY_PER_ATOM = 10.0
"""Highest plausible value if atoms are within bonding distance."""
MAX_MEDIAN_ENERGY_PER_ATOM = 2.0
"""Highest plausible median."""
MAX_ENERGY_ABOVE_ATOMS = 1.0
"""Maximum energy in eV per atom above isolated atoms for total energies to match."""
BONDED_RANGE = (0.75, 1.3)
"""Range of the shortest distance over the sum of covalent radii of bonded atoms."""
ERROR_TO_ARGON, ERROR_BEYOND_ARGON = 0.003, 0.07
"""Relative error of all-electron energies of isolated atoms, up to and beyond Ar."""
UNITS: Final = {
    "Ha": ase.units.Hartree,
    "Ry": ase.units.Rydberg,
    "kcal/mol": ase.units.kcal / ase.units.mol,
    "kJ/mol": ase.units.kJ / ase.units.mol,
    "meV": 1e-3,
}
"""Value of each unit in eV."""


def check_total_energies(
    facts: Sequence[Facts], *, confirmed: bool
) -> Iterator[Finding]:
    """Findings from all-electron energies of isolated atoms.

    Args:
        facts: Structures of all files.
        confirmed: Whether the forces have confirmed that energies are in eV.

    Yields:
        Errors for energies below all-electron energies, in another unit, or of other
        elements; otherwise what is undecided.
    """
    labeled = [f for f in facts if np.isfinite(f.energy)]
    if not labeled:
        return
    energy = np.array([f.energy / f.num_atoms for f in labeled])
    atoms = np.array(
        [
            sum_of_all_electron_energies(f.numbers.tolist()) / f.num_atoms
            for f in labeled
        ]
    )
    error = np.array(
        [
            ERROR_BEYOND_ARGON if f.numbers.max() > MAX_EXACT_NUMBER else ERROR_TO_ARGON
            for f in labeled
        ]
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
            f"energies (about {np.median(energy):.6g} per atom) are all-electron total "
            f"energies in {best} ({np.median(atoms):.6g} eV): convert them to "
            "eV, or set data.units.energy (--energy-unit)",
        )
    elif impossible.any():
        n = int(np.argmin(energy - atoms + slack))
        yield Finding(
            "error",
            "energies",
            f"the energies of {counted(int(impossible.sum()), 'structure')} are lower "
            f"than all-electron energies (down to {energy[n]:.6g} eV per atom, "
            f"isolated atoms have {atoms[n]:.6g}): wrong elements, or another unit "
            "than eV",
            first_sources([labeled[n].source for n in np.flatnonzero(impossible)]),
        )
    elif (np.abs(energy / atoms - 1) < 0.1).mean() > 0.5:
        yield from _all_electron(labeled, energy, atoms, belongs)
    else:
        yield Finding(
            "info",
            "energies",
            "undecided: energies are not all-electron total energies, and the "
            "zero of other methods is unknown. Elements that are exchanged in all "
            "structures are not detected",
        )


def _bound(energy: np.ndarray, atoms: np.ndarray, slack: np.ndarray) -> np.ndarray:
    """Whether energies per atom are those of bound atoms."""
    beyond = energy - atoms
    return np.asarray(
        (beyond > MIN_ENERGY_PER_ATOM - slack)
        & (beyond < MAX_ENERGY_ABOVE_ATOMS + slack)
    )


def _all_electron(
    facts: Sequence[Facts], energy: np.ndarray, atoms: np.ndarray, belongs: np.ndarray
) -> Iterator[Finding]:
    wrong = np.flatnonzero(
        ~belongs & (np.array([f.closeness for f in facts]) > BONDED_RANGE[0])
    )
    if not len(wrong):
        yield Finding(
            "info",
            "energies",
            "total energies are all-electron energies of these elements, in eV",
        )
        return
    n = int(wrong[np.argmax(np.abs(energy - atoms)[wrong])])
    yield Finding(
        "error",
        "energies",
        f"the total energies of {counted(len(wrong), 'structure')} do not match "
        f"their elements ({energy[n]:.6g} eV per atom, their isolated atoms have "
        f"{atoms[n]:.6g}): are elements exchanged, or electrons missing?",
        first_sources([facts[k].source for k in wrong.tolist()]),
    )


def binding_energy(
    numbers: Sequence[int], energy: float, references: Mapping[int, float]
) -> float:
    """Energy per atom minus that of isolated atoms, in eV."""
    return (energy - sum(references[z] for z in numbers)) / len(numbers)


def check_binding(
    facts: Sequence[Facts], references: Mapping[int, float]
) -> Iterator[Finding]:
    """Findings about energies that do not match those of the isolated atoms.

    Args:
        facts: Structures of all files.
        references: Energies of isolated atoms in eV by atomic number.

    Yields:
        An error for impossible binding energies, otherwise their range.
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
    bonded = np.array(
        [BONDED_RANGE[0] < f.closeness < BONDED_RANGE[1] for f in labeled]
    )
    noble = np.array([bool(NOBLE_GASES & set(f.numbers.tolist())) for f in labeled])
    comparable = bonded & ~noble
    bad = (found < MIN_ENERGY_PER_ATOM) | (comparable & (found > MAX_ENERGY_PER_ATOM))
    if comparable.any() and np.median(found[comparable]) > MAX_MEDIAN_ENERGY_PER_ATOM:
        bad |= comparable & (found > MAX_MEDIAN_ENERGY_PER_ATOM)
    if bad.any():
        wrong = np.flatnonzero(bad)
        worst = int(wrong[np.argmax(np.abs(found[wrong]))])
        elements = sorted({z for n in wrong for z in labeled[n].composition})
        yield Finding(
            "error",
            "references",
            f"the energies of {counted(len(wrong), 'structure')} are "
            f"{found[bad].min():.4g} to {found[bad].max():.4g} eV per atom relative to "
            f"isolated atoms ({_energies(elements, references)}); bound atoms have "
            f"about -9 to 0, and at least {MIN_ENERGY_PER_ATOM:g}: isolated "
            "atoms and structures have different codes, pseudopotentials or units, "
            "or these are atomization energies",
            first_sources([labeled[worst].source, *(labeled[n].source for n in wrong)]),
        )
    else:
        yield Finding(
            "info",
            "binding",
            f"structures are {found.min():.3g} to {found.max():.3g} eV per atom "
            "relative to isolated atoms, which is plausible; undecided whether both "
            "have the same level of theory if levels differ by less than about 1 eV "
            "per atom",
        )


def _energies(elements: Sequence[int], references: Mapping[int, float]) -> str:
    shown = [f"{chemical_symbols[z]} {references[z]:.6g}" for z in elements[:6]]
    return ", ".join(shown) + (", ..." if len(elements) > 6 else "") + " eV"
