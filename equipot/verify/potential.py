"""Verification of a potential: all checks, and their report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from ase import Atoms

from equipot.data.statistics import Statistics
from equipot.models.build import with_backend
from equipot.models.differentiable import constant_weights
from equipot.models.energy_model import EnergyModel
from equipot.models.potential import Potential
from equipot.verify.arithmetic import precision_checks
from equipot.verify.dimers import Limits
from equipot.verify.frozen import frozen_checks
from equipot.verify.generated import generate
from equipot.verify.inspection import LEVELS, Inspection
from equipot.verify.potential_report import PotentialReport
from equipot.verify.subject import Subject


def verify_energy_model(
    model: EnergyModel,
    structures: Sequence[Atoms],
    elements: Sequence[int],
    *,
    reflections: bool = True,
    reference_energies: Mapping[int, float] | None = None,
    closest: Limits | None = None,
    seed: int = 0,
    typical_force: float | None = None,
    lowest_energy: float | None = None,
    level: str = "standard",
) -> PotentialReport:
    """Verify any potential-energy surface without assumptions about the model.

    Args:
        model: Model in float64.
        structures: Test structures, used in addition to generated ones.
        elements: Atomic numbers that the model supports.
        reflections: Whether the energy must be invariant under reflections.
        reference_energies: Isolated-atom energies in eV of the model, if it has any.
        closest: Distance in Å below which calculators reject a pair.
        seed: Random seed.
        typical_force: Root-mean-square force of the training set in eV/Å, the scale of
            rounding errors where forces vanish by symmetry; by default that of
            generated structures.
        lowest_energy: Lowest energy of the training set in eV per atom relative to
            isolated atoms; by default that of the structures.
        level: ``"quick"``, ``"standard"`` or ``"thorough"``.

    Returns:
        The report. An error raised by the model is a failed check.

    Raises:
        ValueError: If there are no atoms, or the level is unknown.
    """
    start = time.perf_counter()
    if level not in LEVELS:
        raise ValueError(f"unknown level {level!r}; use one of {', '.join(LEVELS)}")
    given = [atoms for atoms in structures if len(atoms)]
    if not given:
        raise ValueError("no atoms to verify on; pass structures with atoms")
    with constant_weights(model):
        inspection = Inspection(
            subject=Subject(model, elements[0]),
            given=given,
            elements=tuple(elements),
            reflections=reflections,
            closest=closest,
            level=LEVELS[level],
            seed=seed,
            given_force=typical_force,
        )
        checks, curves, pulls = inspection.run(reference_energies, lowest_energy)
        notes = inspection.notes(curves.dimers, pulls, level)
    return PotentialReport(
        structures=len(given),
        atoms=sum(len(atoms) for atoms in given),
        checks=tuple(checks),
        seconds=time.perf_counter() - start,
        curves=curves,
        notes=notes,
    )


def verify_potential(
    potential: Potential,
    structures: Sequence[Atoms],
    *,
    closest: Limits | None = None,
    statistics: Statistics | None = None,
    level: str = "standard",
) -> PotentialReport:
    """Verify a potential in float64, and its float32 precision.

    Args:
        potential: Potential; not modified.
        structures: Test structures.
        closest: Distance in Å below which calculators reject a pair.
        statistics: Statistics of its training set: force scale, energy range.
        level: Extent, see `verify_energy_model`.

    Raises:
        ValueError: If there are no atoms, or the level is unknown.
    """
    start = time.perf_counter()
    energies = None if statistics is None else statistics.energy_range
    scale = None if statistics is None else statistics.energy_scale
    found = verify_energy_model(
        with_backend(potential, potential.backend, torch.float64),
        structures,
        potential.elements,
        reflections=potential.backbone.symmetry == "O(3)",
        reference_energies=potential.reference_energies,
        closest=closest,
        typical_force=scale,
        lowest_energy=None if energies is None else energies[0],
        level=level,
    )
    made = generate(potential.elements, potential.cutoff, closest)
    compared = [*(a for a in structures if len(a)), made.crystal, made.boxed]
    typical = abs(scale or potential.scale)
    precision = precision_checks(potential, compared, typical=typical)
    frozen, not_frozen = frozen_checks(potential, compared, typical=typical)
    notes = found.notes
    if not_frozen is not None:
        notes = (*notes, f"the potential is not frozen by calculators: {not_frozen}")
    return replace(
        found,
        checks=(*found.checks, *precision, *frozen),
        notes=notes,
        seconds=time.perf_counter() - start,
    )
