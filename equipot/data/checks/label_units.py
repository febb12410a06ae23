"""Units of lengths, forces and energies, inferred from bond lengths and stiffness."""

from collections.abc import Iterator, Sequence
from typing import Final

import ase.units
import numpy as np

from equipot.data.checks.facts import Facts
from equipot.data.checks.findings import Finding
from equipot.data.checks.stiffness import Stiffness
from equipot.data.checks.work import Ratio, Work, ratio_to_forces
from equipot.data.chemistry import NOBLE_GASES

MAX_BOND_RATIO = 1.4
"""Nearest-neighbor distance over the sum of covalent radii that 95 % of bonded atoms do
not exceed. The longest bonds have 1.25; lengths in bohr give at least 1.46 (N2)."""
MIN_MEDIAN_BOND_RATIO = 0.62
"""Lower bound of the median of this ratio; N2 has 0.77."""
MIN_ATOMS = 10
"""Minimum number of atoms for a check of lengths."""
MAX_STIFFNESS_RATIO = 4.5
"""Ratio to the expected bond stiffness above which the unit of forces is wrong."""
MAX_CLEAR_STIFFNESS_RATIO = 3.0
"""Ratio to the expected bond stiffness above which the unit is undecided."""
MIN_LENGTH_CHANGE = 0.008
"""Minimum root mean square change of bond length in Å to detect soft bonds."""
MAX_WORK_RATIO = 1.33
"""Ratio of energies to the work of the forces above which one is scaled."""
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
MAX_FORCE_UNIT_ERROR = 3.0
"""Factor within which a unit of forces is identified by stiffness."""
MAX_UNIT_RATIO_ERROR = 1.2
"""Factor within which a pair of units is identified by work."""


def check_lengths(facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about implausible bond lengths.

    Args:
        facts: Structures of all files.

    Yields:
        An error if almost all nearest-neighbor distances are longer than bonds, or
        most of them are shorter.
    """
    several = [
        f for f in facts if f.num_atoms > 1 and not NOBLE_GASES & set(f.composition)
    ]
    apart = [f for f in several if f.free]
    if len(apart) > max(2, len(several) // 2):
        yield Finding(
            "error",
            "lengths",
            f"{len(apart)} of {len(several)} structures have no two atoms within 5 Å: "
            "are positions and cell in bohr? Set data.units.length (--length-unit)",
        )
        return
    parts = [f.nearest[~np.isin(f.numbers, list(NOBLE_GASES))] for f in facts]
    ratio = np.concatenate(parts)
    ratio = ratio[np.isfinite(ratio)]
    if len(ratio) < MIN_ATOMS:
        return
    shortest, median = float(np.quantile(ratio, 0.05)), float(np.median(ratio))
    if shortest > MAX_BOND_RATIO:
        yield Finding(
            "error",
            "lengths",
            f"nearest neighbors are {median:.2f} times the sum of their covalent radii "
            f"apart, 95 % of them more than {shortest:.2f} (bonds have 0.8 to 1.25): "
            "are positions and cell in bohr? Set data.units.length (--length-unit)",
        )
    elif median < MIN_MEDIAN_BOND_RATIO:
        yield Finding(
            "error",
            "lengths",
            f"half of the atoms have a neighbor within {median:.2f} times the sum of "
            "the covalent radii (bonds have 0.8 to 1.25): are positions and cell in "
            "another unit than Å? Set data.units.length (--length-unit)",
        )


def check_force_unit(stiffness: Sequence[Stiffness], ratio: Ratio) -> Iterator[Finding]:
    """Findings about bonds that are too stiff or too soft for forces in eV/Å.

    Args:
        stiffness: Stiffness of the bonds.
        ratio: Ratio of energies to the work of the forces.

    Yields:
        An error with the units that explain it, or an info about the decision.
    """
    if not stiffness:
        yield _undecided_forces("no two frames are similar enough to measure stiffness")
        return
    factor = typical_stiffness(stiffness)
    if factor < 0:
        yield Finding(
            "error",
            "forces",
            "the forces have the wrong sign: they push atoms apart where bonds are "
            "stretched; they seem to be gradients: change their sign",
        )
        return
    example = max(stiffness, key=lambda s: s.number)
    seen = (
        f"bonds are {factor:.2g} times as stiff as expected ({example.pair} of "
        f"{example.length:.2f} Å: {example.value:.3g} eV/Å^2, expected about "
        f"{example.value / example.ratio:.2g})"
    )
    if 1 / MAX_STIFFNESS_RATIO < factor < MAX_STIFFNESS_RATIO:
        if 1 / MAX_CLEAR_STIFFNESS_RATIO < factor < MAX_CLEAR_STIFFNESS_RATIO:
            yield Finding("info", "units", f"forces are consistent with eV/Å: {seen}")
        else:
            yield _undecided_forces(f"{seen}, which is unusual")
        return
    if factor < 1 and max(s.change for s in stiffness) < MIN_LENGTH_CHANGE:
        yield _undecided_forces(
            f"{seen}, but their lengths hardly change, as in relaxed structures, where "
            "forces vanish in any unit"
        )
        return
    near = {u: abs(np.log(factor / v)) for u, v in FORCE_UNITS.items() if v != 1}
    units = [
        u
        for u in sorted(near, key=near.__getitem__)
        if near[u] < np.log(MAX_FORCE_UNIT_ERROR)
    ]
    if ratio.trusted and ratio.value > 0:
        # Energies decide between units of similar size
        energies = {u: _energy_unit(FORCE_UNITS[u] * ratio.value) for u in units}
        units = [u for u in units if energies[u]] or units
        texts = [f"{u} with energies in {energies[u] or 'eV'}" for u in units]
    else:
        texts = units
    explained = f"as in {' or in '.join(texts)}" if texts else "in an unknown unit"
    yield Finding(
        "error",
        "units",
        f"{seen}: forces seem to be {explained}; convert energies to eV and forces to "
        "eV/Å, or set data.units (--forces-unit, --energy-unit)",
    )


def typical_stiffness(stiffness: Sequence[Stiffness]) -> float:
    """Geometric mean of measured over expected stiffness, signed; NaN if empty."""
    if not stiffness:
        return float("nan")
    weights = np.sqrt([s.number for s in stiffness])
    ratios = np.array([s.ratio for s in stiffness])
    sign = float(np.sign((weights * np.sign(ratios)).sum())) or 1.0
    chosen = np.sign(ratios) == sign
    mean = np.average(np.log(np.abs(ratios[chosen])), weights=weights[chosen])
    return sign * float(np.exp(mean))


def check_energy_unit(work: Work, facts: Sequence[Facts]) -> Iterator[Finding]:
    """Findings about energies that disagree with the work of the forces.

    Args:
        work: Energies and work of the steps between near frames.
        facts: Frames that the steps connect.

    Yields:
        An error for a wrong sign or scale, or an info about the decision.
    """
    ratio = ratio_to_forces(work)
    if not ratio.clear:
        yield Finding(
            "info",
            "units",
            "undecided whether energies and forces are consistent: "
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
            f"the forces have the wrong sign: {seen}; they seem to be gradients: "
            "change their sign",
        )
    elif low > MAX_WORK_RATIO or high < 1 / MAX_WORK_RATIO:
        yield Finding("error", "units", f"{seen}: {_remedy(ratio.value, facts)}")
    elif low > 1 / MAX_WORK_RATIO and high < MAX_WORK_RATIO:
        yield Finding("info", "units", f"energies and forces are consistent: {seen}")
    else:
        yield Finding(
            "info",
            "units",
            "undecided whether energies and forces have consistent units; they "
            f"agree within a factor of {max(high, 1 / low):.2g}: {seen}",
        )


def _undecided_forces(why: str) -> Finding:
    return Finding("info", "units", f"unit of the forces not verified: {why}")


def _why_unclear(ratio: Ratio, facts: Sequence[Facts]) -> str:
    if not any(np.isfinite(f.energy) for f in facts):
        return "there are no energies"
    if not ratio.number:
        return "no two frames have the same atoms in similar positions"
    return (
        f"the {ratio.number:.0f} relevant steps between near frames are inconclusive "
        f"(correlation {ratio.correlation:.2f})"
    )


def _energy_unit(factor: float) -> str | None:
    for unit, value in ENERGY_UNITS.items():
        if abs(np.log(factor / value)) < np.log(MAX_UNIT_RATIO_ERROR):
            return unit
    return None


def _remedy(ratio: float, facts: Sequence[Facts]) -> str:
    """Units that explain a ratio of energies to work, and how to fix them."""
    size = float(np.mean([f.num_atoms for f in facts]))
    found = [
        f"energies in {e} with forces in {f}"
        for e, value in ENERGY_UNITS.items()
        for f, other in FORCE_UNITS.items()
        if abs(np.log(ratio / (value / other))) < np.log(MAX_UNIT_RATIO_ERROR) / 2
    ]
    likely = f" (as {' or '.join(found[:3])} would be)" if found else ""
    per_atom = abs(np.log(ratio * size)) < np.log(1.5)
    question = (
        "are the energies per atom? They must be those of the whole structure. Or "
        if per_atom
        else ""
    )
    return (
        f"{question}one of the two is in another unit or scaled{likely}: convert "
        "energies to eV and forces to eV/Å, or set data.units"
    )
