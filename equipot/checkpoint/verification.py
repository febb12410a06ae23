"""Verification of model files: potential, backends, and provenance in one report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms

from equipot.checkpoint.file import (
    load_potential,
    read_header,
    read_samples,
    read_statistics,
)
from equipot.checkpoint.origin import SECTION, parse_origin
from equipot.data.elements import check_elements
from equipot.data.statistics import UNKNOWN_TRAINING_SET, Statistics
from equipot.domain import Domain
from equipot.models.build import unsupported
from equipot.models.committee import Committee
from equipot.models.potential import Potential
from equipot.models.products import specs_of
from equipot.storage.tensor_file import digest
from equipot.system.environment import describe_environment
from equipot.tensor_products import BACKENDS, REFERENCE, unavailable
from equipot.verify import BackendReport, expect, verify_backend
from equipot.verify.dimers import Limits
from equipot.verify.meaning import consequences
from equipot.verify.potential import verify_energy_model, verify_potential
from equipot.verify.potential_report import PotentialReport


@dataclass(frozen=True)
class ModelReport:
    """Report of a verification of a model and its backends on one machine.

    It is valid for the model, the software versions and the machine named in it.
    """

    model: str
    """Model file; empty for a potential in memory."""
    sha256: str
    """Hash of header and weights of the file, or of the weights in memory."""
    structures: str
    """Description of the test structures."""
    environment: Mapping[str, Any]
    """Versions, processor, GPU, threads and time."""
    device: str
    """Device of the computation."""
    potential: PotentialReport
    """Checks of the potential, computed by the reference backend."""
    backends: tuple[BackendReport, ...]
    """Comparison of each backend with the reference."""
    skipped: Mapping[str, str]
    """Backends that do not support the model here, and the reasons."""

    @property
    def passed(self) -> bool:
        """Whether every check of the potential and of every backend passed."""
        return self.potential.passed and all(v.passed for v in self.backends)

    @property
    def count(self) -> int:
        """Number of checks."""
        return len(self.potential.checks) + sum(len(v.checks) for v in self.backends)

    @property
    def failures(self) -> tuple[str, ...]:
        """A message for each failed check."""
        found = [f"potential: {check}" for check in self.potential.failures]
        for v in self.backends:
            found += [f"backend {v.backend}: {check}" for check in v.failures]
            if v.error is not None:
                found.append(f"backend {v.backend} raised {v.error}")
        return tuple(found)

    @property
    def seconds(self) -> float:
        """Wall time in seconds."""
        return self.potential.seconds + sum(v.seconds for v in self.backends)

    def __str__(self) -> str:
        names = ", ".join(v.backend for v in self.backends)
        result = "all passed" if self.passed else f"{len(self.failures)} of them FAILED"
        return (
            f"verified by {self.count} checks on {self.structures}, backends {names}: "
            f"{result}"
        ) + "".join(f"\n  {failure}" for failure in self.failures)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "passed": self.passed,
            "model": self.model,
            "model_sha256": self.sha256,
            "structures": self.structures,
            "device": self.device,
            "threads": self.environment["threads"],
            "environment": dict(self.environment),
            "failures": list(self.failures),
            "potential": self.potential.as_dict(),
            "backends": [v.as_dict() for v in self.backends],
            "skipped": dict(self.skipped),
        }


def verify_model(
    model: Path | str | Potential,
    structures: Sequence[Atoms] | None = None,
    *,
    backends: Sequence[str] | None = None,
    device: str = "auto",
    dtype: str | None = None,
    described: str | None = None,
    level: str = "standard",
) -> ModelReport:
    """Verify a model: symmetries, derivatives, limits, arithmetic, and backends.

    A failed check does not raise an error; it is part of the report.

    Args:
        model: Model file; or a potential in memory, which has no stored structures or
            minimum distances, and keeps its device and precision.
        structures: Test structures (default: those stored in the file).
        backends: Backends to compare with the reference (default: all that support
            the model here).
        device: ``"auto"`` is CUDA if available, else the CPU.
        dtype: ``"float32"`` or ``"float64"`` (default: as trained).
        described: Description of the origin of the structures.
        level: ``"quick"``, as after training; ``"standard"``; or ``"thorough"``, which
            takes minutes.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If it is not a potential that this version supports, or
            does not reproduce the golden outputs.
        BackendUnavailableError: If a requested backend is not available here.
        ValueError: If there is no structure with atoms, or one with an unsupported
            element; if device, dtype, level or a backend are unknown, or the backend
            does not support the model.

    Example::

        report = equipot.verify_model("runs/a/model.safetensors")
        if not report.passed:
            raise SystemExit(str(report))
    """
    limits: Limits | None = None
    statistics: Statistics | None = None
    notes: tuple[str, ...] = ()
    if isinstance(model, Potential):
        potential, name = model, ""
        identity = digest(model.state_dict())
    else:
        header = read_header(model)
        potential = load_potential(model, device=device, dtype=dtype, backend=REFERENCE)
        name, identity = str(model), header["sha256"]
        statistics = read_statistics(header)
        limits = domain_limits(statistics)
        notes = _notes(header, statistics)
        if structures is None:
            structures = read_samples(header)
            described = _origin(header, structures)
    if structures is None:
        raise ValueError(
            "a potential in memory has no stored structures: pass structures, or "
            "the model file"
        )
    check_elements(
        potential.elements,
        ((f"structure {n}", a.numbers.tolist()) for n, a in enumerate(structures)),
    )
    tested = described or _counted(structures)
    names, skipped = _backends(backends, potential)
    expected = expect(potential, structures)
    found = verify_potential(
        potential, structures, closest=limits, statistics=statistics, level=level
    )
    return ModelReport(
        model=name,
        sha256=identity,
        structures=f"{tested}, {sum(len(atoms) for atoms in structures)} atoms",
        environment=describe_environment(),
        device=str(potential.device),
        backends=tuple(verify_backend(expected, backend) for backend in names),
        skipped=skipped,
        potential=_with_notes(found, _jumps(potential), notes),
    )


def verify_committee(
    models: Sequence[Path],
    structures: Sequence[Atoms] | None = None,
    *,
    device: str = "auto",
    described: str | None = None,
    level: str = "standard",
) -> ModelReport:
    """Verify the mean of a committee, the potential of dynamics and workflows.

    Members, and the backends of each, are verified by `verify_model`.

    Args:
        models: Model files of the members.
        structures: Test structures (default: those stored in the first file).
        device: ``"auto"`` is CUDA if available, else the CPU.
        described: Description of the origin of the structures.
        level: As in `verify_model`.

    Returns:
        Report of the mean, computed by the reference backend in float64.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If one is not a potential that this version supports.
        ValueError: If the members are incompatible, or as in `verify_model`.
    """
    headers = [read_header(model) for model in models]
    members = [
        load_potential(model, device=device, dtype="float64", backend=REFERENCE)
        for model in models
    ]
    committee = Committee(members)
    known = [read_statistics(header) for header in headers]
    if structures is None:
        structures = read_samples(headers[0])
        described = f"{_origin(headers[0], structures)} (the first member)"
    check_elements(
        committee.elements,
        ((f"structure {n}", a.numbers.tolist()) for n, a in enumerate(structures)),
    )
    limits = [domain_limits(statistics) for statistics in known]
    lowest = [s.energy_range[0] for s in known if s.energy_range is not None]
    found = verify_energy_model(
        committee.eval(),
        structures,
        committee.elements,
        reflections=all(_has_mirrors(member) for member in members),
        reference_energies={
            z: sum(m.reference_energies[z] for m in members) / len(members)
            for z in committee.elements
        },
        closest=lambda a, b: max(limit(a, b) or 0.0 for limit in limits),
        typical_force=sum(s.energy_scale for s in known) / len(known),
        lowest_energy=min(lowest) if lowest else None,
        level=level,
    )
    return ModelReport(
        model=f"mean of {len(models)} members: {', '.join(map(str, models))}",
        sha256=" ".join(header["sha256"] for header in headers),
        structures=described or _counted(structures),
        environment=describe_environment(),
        device=str(committee.device),
        backends=(),
        skipped={},
        potential=_with_notes(found),
    )


def _has_mirrors(potential: Potential) -> bool:
    """Whether a potential is declared invariant under reflections."""
    return potential.backbone.symmetry == "O(3)"


def domain_limits(statistics: Statistics) -> Limits:
    """Distance in Å below which calculators reject a pair; the cutoff if unseen.

    Nothing is rejected where the training set is not known.
    """
    if not statistics.has_training_set:
        return lambda a, b: None
    domain = Domain.of(statistics)
    return lambda a, b: min(domain.closest(a, b), statistics.cutoff)


def _origin(header: Mapping[str, Any], structures: Sequence[Atoms]) -> str:
    """Description of the origin of the structures of a model."""
    if header["samples"]:
        return f"{_counted(structures)} stored in the model file"
    return f"{_counted(structures)} generated in the domain (none stored)"


def _with_notes(
    report: PotentialReport, jumps: Sequence[str] = (), more: Sequence[str] = ()
) -> PotentialReport:
    """Report with consequences of its failures, and further notes."""
    failed = consequences(report.failures, jumps=bool(jumps))
    return replace(report, notes=(*failed, *report.notes, *jumps, *more))


def _jumps(potential: Potential) -> tuple[str, ...]:
    """Note on the lengths of edges at which second derivatives are discontinuous."""
    if not (lengths := potential.backbone.hessian_jumps):
        return ()
    listed = " and ".join(f"{length:g}" for length in lengths)
    return (
        "the envelope has a discontinuous second derivative at edge lengths of "
        f"{listed} Å: Hessians, phonons and elastic constants jump where a pair of "
        "atoms crosses them",
    )


def _notes(header: Mapping[str, Any], statistics: Statistics) -> tuple[str, ...]:
    """What to know of the original of a converted model, and of its domain."""
    origin = parse_origin(header.get(SECTION))
    unknown = () if statistics.has_training_set else (UNKNOWN_TRAINING_SET,)
    if origin is None:
        return unknown
    return (
        f"the model was converted from {origin.package}: to rounding it is the "
        "function of the original, which then fails the same checks of the potential "
        "(equipot convert --check compares both)",
        *(f"of the original: {remark}" for remark in origin.remarks),
        *unknown,
    )


def _counted(structures: Sequence[Atoms]) -> str:
    return f"{len(structures)} structure" + ("" if len(structures) == 1 else "s")


def _backends(
    wanted: Sequence[str] | None, potential: Potential
) -> tuple[Sequence[str], dict[str, str]]:
    """Backends to verify, and reasons to skip others."""
    if wanted is not None:
        return wanted, {}
    reasons = {
        name: unsupported(name, specs_of(potential))
        or unavailable(name, potential.device)
        for name in BACKENDS
    }
    names = [name for name, reason in reasons.items() if reason is None]
    return names, {n: reason for n, reason in reasons.items() if reason is not None}
