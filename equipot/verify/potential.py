"""BackendReport of a potential: all checks, and their report."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from ase import Atoms

from equipot.data.statistics import Statistics
from equipot.models.build import with_backend
from equipot.models.differentiable import constant_weights
from equipot.models.energy_model import EnergyModel
from equipot.models.potential import Potential
from equipot.tensor_products.agreement import Difference
from equipot.verify.arithmetic import (
    many_calls_check,
    neighbor_check,
    precision_checks,
    repetition_check,
)
from equipot.verify.backend import make_probes
from equipot.verify.conservation import conservation_checks, expansion_check
from equipot.verify.consistency import DIFFERENCES, consistency_of_each
from equipot.verify.cutoff_scan import CutoffScan, smoothness_check
from equipot.verify.dimers import (
    HOLE_TOLERANCE,
    DimerScan,
    Limits,
    hole_check,
    scan_dimers,
)
from equipot.verify.dynamics import Drift, drift_check, measure_drift
from equipot.verify.generated import Generated, generate
from equipot.verify.invariance import (
    invariance_checks,
    reflection_difference,
)
from equipot.verify.kinks import kink_check, lines_of_pairs, lines_of_structures
from equipot.verify.limits import free_atom_check, separation_check
from equipot.verify.outputs import output_checks
from equipot.verify.periodicity import vacuum_check
from equipot.verify.physics import SMALLEST_FORCE, predict
from equipot.verify.result import Check
from equipot.verify.scans import Scan, choose_pairs, pair_label
from equipot.verify.strength import (
    bond_checks,
    cluster_check,
    compressed_cluster_check,
    hidden_pulls,
    measure_bonds,
)
from equipot.verify.subject import ModelFailureError, Subject

MAX_NAMED_PAIRS = 4
"""Pairs of elements that a note lists."""
MAX_FORCE_RATIO = 100.0
"""A given typical force larger than the measured one by this factor is ignored."""


@dataclass(frozen=True)
class Level:
    """Extent of a verification."""

    calls: int
    """Repetitions of one small input."""
    atoms: int
    """Number of atoms to which structures are repeated."""
    full: int
    """Number of given structures with all checks; the others are rotated, permuted,
    and differentiated."""
    crowded: bool
    """Whether a compressed crystal is included, whose supercell has 20,000 edges."""
    kinks: bool
    """Whether smoothness inside the cutoff is checked."""
    hessians: int
    """Number of structures whose full Hessian is compared."""
    seeds: int = 1
    """Number of random seeds."""


LEVELS: Final[dict[str, Level]] = {
    "quick": Level(50, 72, 2, crowded=False, kinks=False, hessians=1),
    "standard": Level(550, 136, 4, crowded=True, kinks=True, hessians=3),
    "thorough": Level(20_000, 520, 1000, True, True, hessians=1000, seeds=3),
}


@dataclass(frozen=True)
class Curves:
    """Data of some checks, for plots."""

    dimers: tuple[DimerScan, ...]
    """Every pair of elements, or a subset."""
    cutoff: CutoffScan
    """The pair with the largest discontinuity at the cutoff."""
    drift: Drift
    """Total energy in an NVE trajectory."""


@dataclass(frozen=True)
class PotentialReport:
    """All checks of one potential."""

    structures: int
    """Number of structures."""
    atoms: int
    """Number of atoms in all structures."""
    checks: tuple[Check, ...]
    """All checks, in order of execution."""
    seconds: float
    """Wall time in seconds."""
    curves: Curves
    """Data behind some of the checks."""
    notes: tuple[str, ...] = ()
    """What was not checked, and observations that are no failures."""

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
        model: In float64.
        structures: Test structures, used in addition to generated ones.
        elements: Atomic numbers that the model supports.
        reflections: Whether the energy must be invariant under reflections.
        reference_energies: Isolated-atom energies in eV of the model, if it has any.
        closest: Distance in Å below which calculators refuse a pair.
        seed: Random seed.
        typical_force: Root-mean-square force of the training set in eV/Å, the scale of
            rounding errors where forces vanish by symmetry; by default that of
            generated structures.
        lowest_energy: Lowest energy of the training set in eV per atom relative to
            isolated atoms; by default that of the structures.
        level: ``"quick"``, ``"standard"`` or ``"thorough"``.

    Returns:
        The report. An error that the model raises is a failed check.

    Raises:
        ValueError: If there is no atom, or no such level.
    """
    start = time.perf_counter()
    if level not in LEVELS:
        raise ValueError(f"unknown level {level!r}; choose among {', '.join(LEVELS)}")
    given = [atoms for atoms in structures if len(atoms)]
    if not given:
        raise ValueError("there is no atom to verify on; give structures with atoms")
    with constant_weights(model):
        inspection = _Inspection(
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
        potential: Is not modified.
        structures: Test structures.
        closest: Distance in Å below which calculators refuse a pair.
        statistics: Of its training set: scale of forces and range of energies.
        level: Extent, see `verify_energy_model`.

    Raises:
        ValueError: If there is no atom, or no such level.
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
    precision = precision_checks(
        potential,
        [*(a for a in structures if len(a)), made.crystal, made.boxed],
        typical=abs(scale or potential.scale),
    )
    return replace(
        found,
        checks=(*found.checks, *precision),
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True)
class _Inspection:
    """A model and the parameters of its verification."""

    subject: Subject
    given: Sequence[Atoms]
    elements: tuple[int, ...]
    reflections: bool
    closest: Limits | None
    level: Level
    seed: int
    given_force: float | None

    def run(
        self, reference_energies: Mapping[int, float] | None, lowest: float | None
    ) -> tuple[list[Check], Curves, list[str]]:
        """Checks, their data, and strong attractions outside the domain."""
        checks: list[Check] = []
        for seed in range(self.seed, self.seed + self.level.seeds):
            checks += self._structures(seed)
        checks = _worst_of_each(checks)
        more, curves, pulls = self._scans(lowest)
        checks += more
        if reference_energies is not None:
            checks += _attempt(
                "isolated-atom energies",
                lambda: [
                    free_atom_check(self.subject, self.elements, reference_energies)
                ],
            )
        return checks + self._repetitions(), curves, pulls

    def _structures(self, seed: int) -> list[Check]:
        """Symmetries, derivatives and outputs, on structures of all kinds."""
        made = self._generated(seed)
        given = self.given[: self.level.full]
        rest = self.given[self.level.full :]
        partly = [made.slab, made.wire, made.cluster]
        kinds = [made.crystal, made.one_atom, *partly]
        crowded = [made.compressed] if self.level.crowded else []
        typical = self._typical(made)
        model, every = self.subject, [*given, *kinds, *crowded]
        groups: list[tuple[str, Callable[[], list[Check]]]] = [
            (
                "translation",
                lambda: invariance_checks(
                    model,
                    every,
                    reflections=self.reflections,
                    seed=seed,
                    typical=typical,
                    many=self.level.atoms,
                ),
            ),
            (
                "periodic box with vacuum",
                lambda: [vacuum_check(model, [*given, *partly], typical=typical)],
            ),
            (
                f"forces by {DIFFERENCES}",
                lambda: consistency_of_each(
                    model,
                    make_probes(model, [*every, made.boxed, made.left_handed], 2, seed),
                    typical,
                ),
            ),
            (
                "work along a path",
                lambda: conservation_checks(
                    model,
                    [*given, made.crystal, made.boxed, *crowded],
                    seed=seed,
                    typical=typical,
                ),
            ),
            ("independence of requested outputs", lambda: self._outputs(made, typical)),
        ]
        if crowded and "stress" in model.gives:
            groups.append(
                (
                    "work along an expansion",
                    lambda: [expansion_check(model, made.compressed, typical=typical)],
                )
            )
        if rest:
            groups += [
                (
                    "translation",
                    lambda: invariance_checks(
                        model, rest, seed=seed, typical=typical, lightly=True
                    ),
                ),
                (
                    f"forces by {DIFFERENCES}",
                    lambda: consistency_of_each(
                        model, make_probes(model, rest, 1, seed), typical
                    ),
                ),
            ]
        if self.level.kinks:
            moving = [
                atoms
                for atoms in (*given, made.crystal, made.cluster)
                if len(atoms) > 1
            ]
            pairs = choose_pairs(self.elements)
            lines = [
                *lines_of_pairs(pairs, model.cutoff, self.closest),
                *lines_of_structures(moving, seed),
            ]
            groups.append(
                (
                    "smoothness inside the cutoff",
                    lambda: [kink_check(model, lines, typical=typical)],
                )
            )
        return [check for name, make in groups for check in _attempt(name, make)]

    def _outputs(self, made: Generated, typical: float) -> list[Check]:
        """Independence of requested outputs; Hessians of small structures."""
        small = [made.cluster, made.crystal, made.slab, made.boxed, made.left_handed]
        small += sorted(self.given, key=len)[: self.level.hessians]
        return output_checks(
            self.subject, small[: self.level.hessians], typical=typical
        )

    def _scans(self, lowest: float | None) -> tuple[list[Check], Curves, list[str]]:
        """Pairs, triples and clusters at all distances, and dynamics."""
        model, closest = self.subject, self.closest
        pairs = choose_pairs(self.elements)
        checks: list[Check] = []
        pulls: list[str] = []
        at_cutoff, dimers, drift = _nothing_seen(pairs, model.cutoff)
        try:
            drift = measure_drift(model, _moving(self.given), seed=self.seed)
            checks.append(drift_check(drift))
            smooth, at_cutoff = smoothness_check(model, pairs)
            checks += [smooth, separation_check(model, pairs)]
            dimers = scan_dimers(model, pairs, closest)
            bonds = measure_bonds(model, pairs, closest, self.given, lowest)
            pulls = hidden_pulls(bonds)
            checks += [
                hole_check(dimers),
                compressed_cluster_check(model, dimers, self.elements),
                *bond_checks(bonds),
                cluster_check(model, self.elements, closest, bonds, seed=self.seed),
            ]
        except ModelFailureError as error:
            checks.append(_failure("smoothness at the cutoff", error))
        return checks, Curves(dimers, at_cutoff, drift), pulls

    def _repetitions(self) -> list[Check]:
        """Neighbor lists and repeatability."""
        model = self.subject
        made = self._generated(self.seed)
        every = [*self.given, made.crystal, made.one_atom, made.slab, made.compressed]
        return [
            neighbor_check(model, every),
            *_attempt(
                "repeatability",
                lambda: [
                    repetition_check(model, [*self.given, made.crystal]),
                    many_calls_check(model, self.elements[0], self.level.calls),
                ],
            ),
        ]

    def _generated(self, seed: int) -> Generated:
        molecules = [a for a in self.given if not a.pbc.any() and len(a) > 1]
        crystals = [a for a in self.given if a.pbc.all()]
        return generate(
            self.elements,
            self.subject.cutoff,
            self.closest,
            molecule=min(molecules, key=len, default=None),
            crystal=min(crystals, key=len, default=None),
            seed=seed,
        )

    def _typical(self, made: Generated) -> float:
        """Root mean square of forces in eV/Å where no symmetry makes them vanish."""
        try:
            forces = torch.cat(
                [
                    predict(self.subject, atoms).forces
                    for atoms in (made.crystal, made.cluster, made.boxed)
                ]
            )
        except ModelFailureError:
            return SMALLEST_FORCE  # the checks report the failure
        measured = float(forces.square().mean().sqrt())
        if not np.isfinite(measured):
            return SMALLEST_FORCE
        given = abs(self.given_force or 0.0)
        used = given if given <= MAX_FORCE_RATIO * measured else 0.0
        return max(SMALLEST_FORCE, measured, used)

    def notes(
        self, dimers: Sequence[DimerScan], pulls: Sequence[str], level: str
    ) -> tuple[str, ...]:
        """What was not checked, and observations that are no failures."""
        notes = []
        if level == "quick":
            notes.append(
                "quick level, as after training: without structures of 20,000 edges "
                "and smoothness inside the cutoff, and with only "
                f"{self.level.calls} repeated calls; `equipot verify` runs all checks"
            )
        if not self.reflections:
            notes.append(self._mirror_note())
        if "stress" not in self.subject.gives:
            notes.append("stress is not checked: the model does not predict it")
        total = len(self.elements) * (len(self.elements) + 1) // 2
        if len(dimers) < total:
            notes.append(f"{len(dimers)} of {total} pairs of elements were checked")
        if pulls:
            more = len(pulls) - MAX_NAMED_PAIRS
            notes.append(
                "outside the domain of validity, at distances shorter than in "
                "training, the attraction exceeds the strength of bonds: "
                f"{', '.join(pulls[:MAX_NAMED_PAIRS])}"
                + (f" and {more} more pairs" if more > 0 else "")
                + ". Calculators and dynamics raise an error there"
            )
        return (*notes, *_hidden_holes(dimers))

    def _mirror_note(self) -> str:
        text = "reflections are not checked: the potential is only SO(3)-equivariant"
        try:
            made = self._generated(self.seed)
            largest = reflection_difference(
                self.subject, [*self.given, made.cluster], seed=self.seed
            )
        except ModelFailureError:
            return text
        return f"{text}; reflections change the energy by up to {largest:.2g} eV/atom"


def _attempt(name: str, make: Callable[[], list[Check]]) -> list[Check]:
    """Checks, or a failed check with the error that the model raised."""
    try:
        return make()
    except ModelFailureError as error:
        return [_failure(name, error)]


def _failure(name: str, error: ModelFailureError) -> Check:
    return Check(
        quantity="result",
        unit="",
        name=name,
        dtype="float64",
        difference=Difference(float("nan"), 1.0, 0.0),
        reason=str(error),
        where="no result",
    )


def _worst_of_each(checks: Sequence[Check]) -> list[Check]:
    """The worst result of each check, in order of execution."""
    found: dict[str, list[Check]] = {}
    for check in checks:
        found.setdefault(check.name, []).append(check)
    return [max(same, key=_used) for same in found.values()]


def _used(check: Check) -> tuple[bool, float]:
    """Ratio of difference and tolerance; NaN ranks worst."""
    d = check.difference
    return not check.passed, d.relative / d.tolerance if d.tolerance else d.relative


def _nothing_seen(
    pairs: Sequence[tuple[int, int]], cutoff: float
) -> tuple[CutoffScan, tuple[DimerScan, ...], Drift]:
    """Empty curves of a model that raised an error."""
    nothing = np.full(2, np.nan)
    distances = np.array([0.9, 1.1]) * cutoff
    scan = Scan(distances, nothing, nothing)
    drift = Drift(1, (1.0, 0.5), (np.zeros(1),) * 2, (np.full(1, np.nan),) * 2)
    return CutoffScan(pairs[0], cutoff, scan, nothing), (), drift


def _moving(structures: Sequence[Atoms]) -> Atoms:
    """The smallest structure with more than one atom."""
    moving = [atoms for atoms in structures if len(atoms) > 1]
    return min(moving, key=len) if moving else structures[0]


def _hidden_holes(dimers: Sequence[DimerScan]) -> list[str]:
    """Short-range attraction outside the domain."""
    notes = []
    hidden = [d for d in dimers if d.hidden_hole[0] > HOLE_TOLERANCE]
    if hidden:
        hidden.sort(key=lambda d: -d.hidden_hole[0])
        names = [
            f"{pair_label(d.pair)} ({d.hidden_hole[0]:.2g} eV at "
            f"{d.hidden_hole[1]:.2f} Å)"
            for d in hidden[:MAX_NAMED_PAIRS]
        ]
        more = len(hidden) - len(names)
        notes.append(
            "outside the domain of validity, at distances shorter than in training and "
            "than any bond, pairs of atoms attract each other: "
            f"{', '.join(names)}"
            + (f" and {more} more pairs" if more else "")
            + ". Calculators and dynamics raise an error there; model.zbl adds nuclear "
            "repulsion"
        )
    return notes
