"""Everything that is known about whether a potential is what it should be."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from equipot.verify.invariance import invariance_checks
from equipot.verify.limits import limit_checks
from equipot.verify.physics import SMALLEST_FORCE
from equipot.verify.result import Check


@dataclass(frozen=True)
class Certificate:
    """What was measured of one potential, and what it may be at most."""

    structures: int
    atoms: int
    checks: tuple[Check, ...]
    seconds: float

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
        }


def certify(
    model: EnergyModel,
    structures: Sequence[Atoms],
    elements: Sequence[int],
    *,
    reflections: bool = True,
    reference_energies: Mapping[int, float] | None = None,
    closest: Callable[[int, int], float | None] | None = None,
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
    probes = make_probes(model, few, 2, seed)
    checks = [
        *invariance_checks(model, few, reflections=reflections, seed=seed),
        *consistency_checks(model, probes, SMALLEST_FORCE),
        *conservation_checks(model, few, seed=seed),
        *limit_checks(
            model, elements, reference_energies=reference_energies, closest=closest
        ),
        neighbor_check(model, few),
        repetition_check(model, few),
    ]
    return Certificate(
        structures=len(few),
        atoms=sum(len(atoms) for atoms in few),
        checks=tuple(checks),
        seconds=time.perf_counter() - start,
    )


def certify_potential(
    potential: Potential,
    structures: Sequence[Atoms],
    *,
    closest: Callable[[int, int], float | None] | None = None,
) -> Certificate:
    """Probe a potential, in float64 and in its own arithmetic.

    Args:
        potential: Stays as it is.
        structures: Where to evaluate it.
        closest: Distance in Å below which pairs are refused where it is used.
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
    return Certificate(
        found.structures,
        found.atoms,
        (*found.checks, precision),
        time.perf_counter() - start,
    )
