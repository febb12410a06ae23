"""Result of linting a data set: summary of each file, and findings."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from equipot.storage.provenance import SECTION, Origin

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One result of a check."""

    severity: Severity
    """``error``: would silently degrade a training run; ``warning``: needs a review."""
    check: str
    """Name of the check."""
    message: str
    """What was found, and how to fix it."""
    sources: tuple[str, ...] = ()
    """Frames with the finding, such as ``train.xyz#12``; only the first few."""


@dataclass(frozen=True)
class FileSummary:
    """Summary of one file."""

    path: str
    """Path as passed."""
    structures: int
    """Number of readable structures, without isolated atoms."""
    isolated: int
    """Number of reference rows of isolated atoms."""
    atoms: tuple[int, int]
    """Smallest and largest number of atoms of a structure."""
    elements: tuple[str, ...]
    """Symbols, sorted by atomic number."""
    labels: dict[str, int]
    """Number of structures with energy, with forces, and with stress."""
    energy_per_atom: tuple[float, float] | None
    """Lowest and highest energy per atom in eV."""
    force_rms: float | None
    """Root mean square of force components in eV/Å."""
    force_max: float | None
    """Largest force on an atom in eV/Å."""
    pressure: tuple[float, float] | None
    """Lowest and highest pressure in GPa, if the stress is in eV/Å^3."""
    config_types: dict[str, int]
    """Number of structures in each group."""


@dataclass(frozen=True)
class DataReport:
    """Result of linting files."""

    files: tuple[FileSummary, ...]
    """Summary of each file."""
    minimum_distances: dict[str, float]
    """Shortest distance in Å of each pair of elements, such as ``"H-O"``."""
    findings: tuple[Finding, ...]
    """Findings, errors first."""
    units: dict[str, str] = field(default_factory=dict)
    """Stated units of the files that were converted, by label."""

    @property
    def passed(self) -> bool:
        """Whether there are no errors."""
        return not any(f.severity == "error" for f in self.findings)


def sort_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings with errors first, otherwise in their original order."""
    return tuple(sorted(findings, key=lambda f: SEVERITIES.index(f.severity)))


def to_json(report: DataReport, origin: Origin | None = None) -> str:
    """Serialize a report to JSON, with whether it passed.

    Args:
        report: Result of `equipot.data.checks.check.examine`.
        origin: Version, date and files.
    """
    made = {} if origin is None else {SECTION: origin.record()}
    return json.dumps({"passed": report.passed, **asdict(report), **made}, indent=2)


def counted(number: int, noun: str) -> str:
    """Number and noun, plural where needed: ``"2 structures"``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def first_sources(sources: Sequence[str], most: int = 3) -> tuple[str, ...]:
    """Return the first few sources, for a finding."""
    return tuple(sources[:most])
