"""What a verification found: numbers, tolerances, and why they are what they are."""

import math
from dataclasses import dataclass
from typing import Any

from equipot.tensor_products.agreement import Difference


@dataclass(frozen=True)
class Check:
    """One quantity, compared with what it should be."""

    quantity: str
    """What was compared, such as ``forces``."""
    unit: str
    """Of the largest difference."""
    against: str
    """What it was compared with."""
    dtype: str
    """Arithmetic of the potential: ``float32`` or ``float64``."""
    difference: Difference
    """The numbers."""
    reason: str
    """Why the tolerance is what it is."""
    where: str = ""
    """Which elements or pair of elements the numbers are of, where that matters."""

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference.passed

    def as_dict(self) -> dict[str, Any]:
        """JSON values; null is a number that is not finite."""
        return {
            "quantity": self.quantity,
            "unit": self.unit,
            "against": self.against,
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
            f"{self.quantity} ({self.dtype}) differs from {self.against}{where} by "
            f"{d.max_abs:.2e} {self.unit}, {d.relative:.1e} of its size; "
            f"{d.tolerance:.1e} is allowed"
        )


@dataclass(frozen=True)
class Verification:
    """A potential under one backend, compared with the reference and with itself."""

    backend: str
    """Who computed the tensor products."""
    reference: str
    """Backend that it was compared with."""
    device: str
    """Where."""
    structures: int
    """Structures that were compared."""
    atoms: int
    """Atoms of all of them."""
    checks: tuple[Check, ...]
    """In the order in which they were made."""
    error: str | None = None
    """What the backend raised instead of a result."""
    seconds: float = 0.0
    """Time that it took."""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return self.error is None and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """Checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    def __str__(self) -> str:
        verdict = "agrees" if self.passed else "does not agree"
        worst = {
            c.dtype: f"{c.difference.relative:.1e} in {c.dtype}"
            for c in sorted(self.checks, key=lambda c: c.difference.relative)
        }
        return (
            f"backend {self.backend} {verdict} with {self.reference} on "
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
