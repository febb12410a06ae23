"""Everything that is known about whether a potential is what it should be."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from ase import Atoms

from equipot.models.build import with_backend
from equipot.models.energy_model import EnergyModel
from equipot.models.potential import Potential
from equipot.verify.arithmetic import (
    neighbor_check,
    precision_check,
    repetition_check,
)
from equipot.verify.backend import make_probes, quick_choice
from equipot.verify.conservation import conservation_checks
from equipot.verify.consistency import consistency_checks
from equipot.verify.cutoff_scan import CutoffScan, smoothness_check
from equipot.verify.dimers import (
    HOLE_TOLERANCE,
    DimerScan,
    Limits,
    hole_check,
    scan_dimers,
)
from equipot.verify.dynamics import Drift, drift_check, measure_drift
from equipot.verify.invariance import invariance_checks
from equipot.verify.limits import free_atom_check, separation_check
from equipot.verify.physics import SMALLEST_FORCE
from equipot.verify.result import Check
from equipot.verify.scans import choose_pairs, pair_label

MOST_NAMED = 4
"""Pairs of elements that a note names."""


@dataclass(frozen=True)
class Curves:
    """What was measured along the way, to be looked at."""

    dimers: tuple[DimerScan, ...]
    """Every pair of elements, or a part of them."""
    cutoff: CutoffScan
    """The pair that jumps most at the cutoff."""
    drift: Drift
    """Energy in dynamics."""


@dataclass(frozen=True)
class Certificate:
    """What was measured of one potential, and what it may be at most."""

    structures: int
    """Structures that were looked at."""
    atoms: int
    """Atoms of all of them."""
    checks: tuple[Check, ...]
    """In the order in which they were made."""
    seconds: float
    """Time that it took."""
    curves: Curves
    """What some of the checks were made from."""
    notes: tuple[str, ...] = ()
    """What was not looked at, and what is no failure but should be known."""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """Checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "structures": self.structures,
            "atoms": self.atoms,
            "passed": self.passed,
            "seconds": self.seconds,
            "checks": [check.as_dict() for check in self.checks],
            "notes": list(self.notes),
        }


def certify(
    model: EnergyModel,
    structures: Sequence[Atoms],
    elements: Sequence[int],
    *,
    reflections: bool = True,
    reference_energies: Mapping[int, float] | None = None,
    closest: Limits | None = None,
    seed: int = 0,
) -> Certificate:
    """Probe any potential-energy surface; nothing of how it is made is believed.

    Args:
        model: In float64.
        structures: Where to evaluate it; one or two small ones are enough.
        elements: Atomic numbers that it is for.
        reflections: Whether mirror images have to be equivalent.
        reference_energies: Energies in eV of free atoms that it states, if it does.
        closest: Distance in Å below which pairs are refused where it is used.
        seed: Of all random choices.

    Raises:
        ValueError: If there is no atom.
    """
    start = time.perf_counter()
    chosen = quick_choice(
        [len(atoms) for atoms in structures],
        [bool(atoms.pbc.all()) for atoms in structures],
    )
    few = [structures[n] for n in chosen]
    if not few:
        raise ValueError("there is no atom to verify on; give structures with atoms")
    pairs = choose_pairs(elements)
    smoothness, at_cutoff = smoothness_check(model, pairs)
    drift = measure_drift(model, _moving(few), seed=seed)
    dimers = scan_dimers(model, pairs, closest)
    checks = [
        *invariance_checks(model, few, reflections=reflections, seed=seed),
        *consistency_checks(model, make_probes(model, few, 2, seed), SMALLEST_FORCE),
        *conservation_checks(model, few, seed=seed),
        drift_check(drift),
        smoothness,
        separation_check(model, pairs),
    ]
    if reference_energies is not None:
        checks.append(free_atom_check(model, elements, reference_energies))
    checks += [
        hole_check(dimers),
        neighbor_check(model, few),
        repetition_check(model, few),
    ]
    return Certificate(
        structures=len(few),
        atoms=sum(len(atoms) for atoms in few),
        checks=tuple(checks),
        seconds=time.perf_counter() - start,
        curves=Curves(dimers, at_cutoff, drift),
        notes=_notes(few, elements, dimers, reflections=reflections),
    )


def certify_potential(
    potential: Potential,
    structures: Sequence[Atoms],
    *,
    closest: Limits | None = None,
) -> Certificate:
    """Probe a potential, in float64 and in its own arithmetic.

    Args:
        potential: Stays as it is.
        structures: Where to evaluate it.
        closest: Distance in Å below which pairs are refused where it is used.

    Raises:
        ValueError: If there is no atom.
    """
    start = time.perf_counter()
    symmetries = {spec.symmetry for spec in potential.backbone.specs}
    found = certify(
        with_backend(potential, potential.backend, torch.float64),
        structures,
        potential.elements,
        reflections=symmetries == {"O(3)"},
        reference_energies=potential.reference_energies,
        closest=closest,
    )
    precision = precision_check(potential, structures)
    return replace(
        found,
        checks=(*found.checks, precision),
        seconds=time.perf_counter() - start,
    )


def _moving(structures: Sequence[Atoms]) -> Atoms:
    """The smallest structure whose atoms exert forces on each other."""
    moving = [atoms for atoms in structures if len(atoms) > 1]
    return min(moving, key=len) if moving else structures[0]


def _notes(
    structures: Sequence[Atoms],
    elements: Sequence[int],
    dimers: Sequence[DimerScan],
    *,
    reflections: bool,
) -> tuple[str, ...]:
    notes = []
    if not reflections:
        notes.append("mirror images are not compared: the potential is SO(3) only")
    if not any(atoms.pbc.all() for atoms in structures):
        notes.append(
            "stress is not compared: no structure has three periodic directions"
        )
    total = len(elements) * (len(elements) + 1) // 2
    if len(dimers) < total:
        notes.append(f"{len(dimers)} of {total} pairs of elements were looked at")
    hidden = [d for d in dimers if d.hidden_hole[0] > HOLE_TOLERANCE]
    if hidden:
        hidden.sort(key=lambda d: -d.hidden_hole[0])
        names = [
            f"{pair_label(d.pair)} ({d.hidden_hole[0]:.2g} eV at "
            f"{d.hidden_hole[1]:.2f} Å)"
            for d in hidden[:MOST_NAMED]
        ]
        more = len(hidden) - len(names)
        notes.append(
            "outside of its domain, closer than in training and than any bond, atoms "
            f"attract each other: {', '.join(names)}"
            + (f" and {more} more pairs" if more else "")
            + ". Calculators and dynamics refuse to go there; model.zbl adds the "
            "repulsion of nuclei"
        )
    return tuple(notes)
