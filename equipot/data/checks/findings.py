"""Result of linting a data set: facts of each file, and findings."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from equipot.storage.provenance import SECTION, Origin

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know."""

    severity: Severity
    """Error: would silently spoil a training; warning: look at it."""
    check: str
    """Name of the check."""
    message: str
    """What was found, and what to do."""
    sources: tuple[str, ...] = ()
    """Frames it was found in, such as ``train.xyz#12``; the first few."""


@dataclass(frozen=True)
class FileSummary:
    """Facts of one file."""

    path: str
    """Path as it was given."""
    structures: int
    """Structures that could be read, without isolated atoms."""
    isolated: int
    """Reference rows of isolated atoms."""
    atoms: tuple[int, int]
    """Smallest and largest number of atoms of a structure."""
    elements: tuple[str, ...]
    """Symbols, by atomic number."""
    labels: dict[str, int]
    """Structures with energy, with forces, with stress."""
    energy_per_atom: tuple[float, float] | None
    """Lowest and highest energy per atom in eV."""
    force_rms: float | None
    """Root mean square of force components in eV/Å."""
    force_max: float | None
    """Largest force on an atom in eV/Å."""
    pressure: tuple[float, float] | None
    """Lowest and highest pressure in GPa, if the stress is in eV/Å^3."""
    config_types: dict[str, int]
    """Structures of each group."""


@dataclass(frozen=True)
class DoctorReport:
    """Result of examining files."""

    files: tuple[FileSummary, ...]
    """Facts of each file."""
    minimum_distances: dict[str, float]
    """Shortest distance in Å of each pair of elements, such as ``"H-O"``."""
    findings: tuple[Finding, ...]
    """Findings, errors first."""
    units: dict[str, str] = field(default_factory=dict)
    """Units of the files that were stated and converted, by label."""

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return not any(f.severity == "error" for f in self.findings)


def sort_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings with errors first, otherwise in their order."""
    return tuple(sorted(findings, key=lambda f: SEVERITIES.index(f.severity)))


def to_json(report: DoctorReport, origin: Origin | None = None) -> str:
    """A report as JSON, with the verdict.

    Args:
        report: What was found.
        origin: Version, date and files.
    """
    made = {} if origin is None else {SECTION: origin.record()}
    return json.dumps({"passed": report.passed, **asdict(report), **made}, indent=2)


def counted(number: int, noun: str) -> str:
    """Number and noun, in the plural where it belongs: ``"2 structures"``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def some(sources: Sequence[str], most: int = 3) -> tuple[str, ...]:
    """The first few sources, for a finding."""
    return tuple(sources[:most])
