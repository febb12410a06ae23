"""Report of the verification of one potential: checks, and the data behind them."""

from dataclasses import dataclass
from typing import Any

from equipot.verify.cutoff_scan import CutoffScan
from equipot.verify.dimers import DimerScan
from equipot.verify.dynamics import Drift
from equipot.verify.result import Check


@dataclass(frozen=True)
class Curves:
    """Data of some checks, for plots."""

    dimers: tuple[DimerScan, ...]
    """All pairs of elements, or a subset."""
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
    """Data of some of the checks, for plots."""
    notes: tuple[str, ...] = ()
    """Checks that were skipped, and observations that are not failures."""

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
