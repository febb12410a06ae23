"""Units of lengths, forces and energies, inferred from bond lengths and stiffness."""

from collections.abc import Iterator, Sequence
from typing import Final

import ase.units
import numpy as np

from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding
from equipot.data.checks.stiffness import Stiffness
from equipot.data.checks.work import Ratio, Work, ratio_to_forces
from equipot.data.chemistry import NOBLE

APART = 1.4
"""Distance to the nearest atom over the sum of covalent radii that 95 % of bound atoms
are not beyond: the longest bonds have 1.25, in bohr the shortest, of N2, 1.46."""
TOGETHER = 0.62
"""The same that half of the atoms are not below: in N2 it is 0.77."""
FEWEST_ATOMS = 10
"""Atoms that a verdict about lengths needs."""
STIFFEST = 4.5
"""Factor by which bonds cannot be stiffer or softer than expected."""
DOUBTFUL = 3.0
"""The same from which a doubt is mentioned."""
SMALLEST_CHANGE = 0.008
"""Change of length in Å, root mean square, that a verdict about soft bonds needs."""
WORK = 1.33
"""Factor by which energies cannot differ from the work of the forces."""
ENERGY_UNITS: Final = {
    "eV": 1.0,
    "kcal/mol": ase.units.mol / ase.units.kcal,
    "kJ/mol": ase.units.mol / ase.units.kJ,
    "Ha": 1 / ase.units.Hartree,
    "Ry": 1 / ase.units.Rydberg,
    "meV": 1e3,
}
"""Value of 1 eV in each unit."""
FORCE_UNITS: Final = {
    "eV/Å": 1.0,
    "kcal/mol/Å": ase.units.mol / ase.units.kcal,
    "kJ/mol/Å": ase.units.mol / ase.units.kJ,
    "kJ/mol/nm": 10 * ase.units.mol / ase.units.kJ,
    "Ha/Å": 1 / ase.units.Hartree,
    "Ha/bohr": ase.units.Bohr / ase.units.Hartree,
    "Ry/bohr": ase.units.Bohr / ase.units.Rydberg,
    "eV/bohr": ase.units.Bohr,
    "meV/Å": 1e3,
}
"""Value of 1 eV/Å in each unit."""
NEAR_UNIT = 3.0
"""Factor within which stiffness recognizes a unit of forces."""
NEAR_RATIO = 1.2
"""Factor within which work recognizes a pair of units."""


def check_lengths(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about lengths that no bonds have.

    Args:
        facts: Structures of all files.

    Yields:
        An error if nearly all atoms are farther apart than bonds are long, or most of
        them closer.
    """
    several = [f for f in facts if f.num_atoms > 1 and not NOBLE & set(f.composition)]
    apart = [f for f in several if f.free]
    if len(apart) > max(2, len(several) // 2):
        yield Finding(
            "error",
            "lengths",
            f"{len(apart)} of {len(several)} structures have no two atoms within 5 Å: "
            "are positions and cell in bohr? Set data.units.length (--length-unit)",
        )
        return
    parts = [f.nearest[~np.isin(f.numbers, list(NOBLE))] for f in facts]
    ratio = np.concatenate(parts)
    ratio = ratio[np.isfinite(ratio)]
    if len(ratio) < FEWEST_ATOMS:
        return
    shortest, median = float(np.quantile(ratio, 0.05)), float(np.median(ratio))
    if shortest > APART:
        yield Finding(
            "error",
            "lengths",
            f"nearest neighbors are {median:.2f} times the sum of their covalent radii "
            f"apart, 95 % of them more than {shortest:.2f} (bonds have 0.8 to 1.25): "
            "are positions and cell in bohr? Set data.units.length (--length-unit)",
        )
    elif median < TOGETHER:
        yield Finding(
            "error",
            "lengths",
            f"half of the atoms have a neighbor within {median:.2f} times the sum of "
            "the covalent radii (bonds have 0.8 to 1.25): are positions and cell in "
            "another unit than Å? Set data.units.length (--length-unit)",
        )


def check_force_unit(stiffness: Sequence[Stiffness], ratio: Ratio) -> Iterator[Finding]:
    """Findings about forces that make bonds too stiff or too soft.

    Args:
        stiffness: Of the bonds.
        ratio: Energies over the work of the forces.

    Yields:
        An error with the unit that explains it, or what is known.
    """
    if not stiffness:
        yield _undecided_forces(
            "no two frames are similar enough to determine a bond stiffness"
        )
        return
    factor = typical_stiffness(stiffness)
    if factor < 0:
        yield Finding(
            "error",
            "forces",
            "the forces have the wrong sign: they stretch bonds that are too long; "
            "probably these are gradients: change their sign",
        )
        return
    example = max(stiffness, key=lambda s: s.number)
    seen = (
        f"bonds are {factor:.2g} times as stiff as expected ({example.pair} of "
        f"{example.length:.2f} Å: {example.value:.3g} eV/Å^2, expected about "
        f"{example.value / example.ratio:.2g})"
    )
    if 1 / STIFFEST < factor < STIFFEST:
        if 1 / DOUBTFUL < factor < DOUBTFUL:
            yield Finding("info", "units", f"forces are consistent with eV/Å: {seen}")
        else:
            yield _undecided_forces(f"{seen}, which is unusual")
        return
    if factor < 1 and max(s.change for s in stiffness) < SMALLEST_CHANGE:
        yield _undecided_forces(
            f"{seen}, but bond lengths hardly vary, as in relaxed structures, whose "
            "forces vanish"
        )
        return
    near = {u: abs(np.log(factor / v)) for u, v in FORCE_UNITS.items() if v != 1}
    units = [
        u for u in sorted(near, key=near.__getitem__) if near[u] < np.log(NEAR_UNIT)
    ]
    if ratio.trusted and ratio.value > 0:
        # Energies settle which of the units that are alike it is
        energies = {u: _energy_unit(FORCE_UNITS[u] * ratio.value) for u in units}
        units = [u for u in units if energies[u]] or units
        texts = [f"{u} with energies in {energies[u] or 'eV'}" for u in units]
    else:
        texts = units
    explained = f"in {' or in '.join(texts)}" if texts else "in an unknown unit"
    yield Finding(
        "error",
        "units",
        f"{seen}: forces are probably {explained}; convert energies to eV and forces "
        "to eV/Å, or set data.units (--forces-unit, --energy-unit)",
    )


def typical_stiffness(stiffness: Sequence[Stiffness]) -> float:
    """Geometric mean of stiffness over expectation, with its sign; NaN without any."""
    if not stiffness:
        return float("nan")
    weights = np.sqrt([s.number for s in stiffness])
    ratios = np.array([s.ratio for s in stiffness])
    sign = float(np.sign((weights * np.sign(ratios)).sum())) or 1.0
    chosen = np.sign(ratios) == sign
    mean = np.average(np.log(np.abs(ratios[chosen])), weights=weights[chosen])
    return sign * float(np.exp(mean))


def check_energy_unit(work: Work, facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about energies that are not the work of the forces.

    Args:
        work: Of steps between near frames.
        facts: Frames that the steps are between.

    Yields:
        An error for a wrong sign or scale, or what is known.
    """
    ratio = ratio_to_forces(work)
    if not ratio.clear:
        yield Finding(
            "info",
            "units",
            "consistency of energies and forces not verified: "
            + _why_unclear(ratio, facts),
        )
        return
    seen = (
        "energy differences of similar frames are "
        f"{abs(ratio.value):.3g} times the work of the forces (correlation "
        f"{ratio.correlation:.2f})"
    )
    low, high = sorted((abs(ratio.low), abs(ratio.high)))
    if ratio.correlation < 0:
        yield Finding(
            "error",
            "forces",
            f"the forces have the wrong sign: {seen}; probably these are gradients: "
            "change their sign",
        )
    elif low > WORK or high < 1 / WORK:
        yield Finding("error", "units", f"{seen}: {_remedy(ratio.value, facts)}")
    elif low > 1 / WORK and high < WORK:
        yield Finding(
            "info", "units", f"energies are consistent with the forces: {seen}"
        )
    else:
        yield Finding(
            "info",
            "units",
            "energies and forces are consistent within a factor of "
            f"{max(high, 1 / low):.2g} only: {seen}",
        )


def _undecided_forces(why: str) -> Finding:
    return Finding("info", "units", f"unit of the forces not verified: {why}")


def _why_unclear(ratio: Ratio, facts: Sequence[Facts]) -> str:
    if not any(np.isfinite(f.energy) for f in facts):
        return "there are no energies"
    if not ratio.number:
        return "no two frames have the same atoms at similar positions"
    return (
        f"{ratio.number:.0f} pairs of similar frames are not sufficient (correlation "
        f"{ratio.correlation:.2f})"
    )


def _energy_unit(factor: float) -> str | None:
    for unit, value in ENERGY_UNITS.items():
        if abs(np.log(factor / value)) < np.log(NEAR_RATIO):
            return unit
    return None


def _remedy(ratio: float, facts: Sequence[Facts]) -> str:
    """What explains a ratio of energies to work, and what to do."""
    size = float(np.mean([f.num_atoms for f in facts]))
    found = [
        f"energies in {e} with forces in {f}"
        for e, value in ENERGY_UNITS.items()
        for f, other in FORCE_UNITS.items()
        if abs(np.log(ratio / (value / other))) < np.log(NEAR_RATIO) / 2
    ]
    likely = f" (as {' or '.join(found[:3])} would be)" if found else ""
    per_atom = abs(np.log(ratio * size)) < np.log(1.5)
    question = (
        "are the energies per atom? They must be those of the whole structure. Or "
        if per_atom
        else ""
    )
    return (
        f"{question}one of the two is in another unit or scaled{likely}: bring "
        "energies to eV and forces to eV/Å, or set data.units"
    )
