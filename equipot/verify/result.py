"""Results of a verification: differences, tolerances, and their justification."""

import math
from dataclasses import dataclass
from typing import Any

from equipot.tensor_products.agreement import Difference


@dataclass(frozen=True)
class Check:
    """One quantity compared with its expected value."""

    quantity: str
    """Quantity that was compared, such as ``forces``."""
    unit: str
    """Unit of the largest difference."""
    name: str
    """Name of the check, such as ``batch independence``; the name of the reference
    backend if two backends were compared."""
    dtype: str
    """Floating-point precision of the potential: ``float32`` or ``float64``."""
    difference: Difference
    """Largest difference, scale, and tolerance."""
    reason: str
    """Justification of the tolerance."""
    where: str = ""
    """Elements, structure or distance of the largest difference, if relevant."""

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference.passed

    def as_dict(self) -> dict[str, Any]:
        """JSON values; null replaces values that are not finite."""
        return {
            "quantity": self.quantity,
            "unit": self.unit,
            "name": self.name,
            "where": self.where,
            "dtype": self.dtype,
            "max_abs": _finite(self.difference.max_abs),
            "relative": _finite(self.difference.relative),
            "tolerance": self.difference.tolerance,
            "reason": self.reason,
            "passed": self.passed,
        }

    def __str__(self) -> str:
        d = self.difference
        where = f" ({self.where})" if self.where else ""
        return (
            f"{self.name}{where}: {self.quantity} ({self.dtype}) differs by "
            f"{d.max_abs:.2e} {self.unit}, relative {d.relative:.1e}, tolerance "
            f"{d.tolerance:.1e}"
        )


@dataclass(frozen=True)
class BackendReport:
    """Comparison of a backend with the reference and with finite differences."""

    backend: str
    """Name of the tensor-product backend."""
    reference: str
    """Name of the reference backend."""
    device: str
    """Device of the computation."""
    structures: int
    """Number of structures."""
    atoms: int
    """Number of atoms in all structures."""
    checks: tuple[Check, ...]
    """All checks, in order of execution."""
    error: str | None = None
    """Error message, if the backend raised an error."""
    seconds: float = 0.0
    """Wall time in seconds."""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return self.error is None and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """Checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    def __str__(self) -> str:
        result = "agrees" if self.passed else "does not agree"
        worst = {
            c.dtype: f"{c.difference.relative:.1e} in {c.dtype}"
            for c in sorted(self.checks, key=lambda c: c.difference.relative)
        }
        return (
            f"backend {self.backend} {result} with {self.reference} on "
            f"{self.structures} structures of {self.atoms} atoms; relative differences "
            f"up to {' and '.join(worst.values())}"
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "backend": self.backend,
            "reference": self.reference,
            "device": self.device,
            "structures": self.structures,
            "atoms": self.atoms,
            "passed": self.passed,
            "error": self.error,
            "seconds": self.seconds,
            "checks": [check.as_dict() for check in self.checks],
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
