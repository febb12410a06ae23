"""Differences from expected values, and tolerances for rounding errors."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

FLOAT64_TOLERANCE = 1e-9
"""Largest relative difference of two correct computations in float64.

Rounding errors of 1e-16 grow through layers and two derivatives, by less than a factor
of 1e5 in all models measured; a wrong term gives differences above 1e-5.
"""
ROUNDING_FACTOR = 10.0
"""Allowed difference in low precision, relative to the rounding error of the reference.

Another order of summation has errors of the same size; products by a grid or by Fourier
series have errors several times larger.
"""
ROUNDING_FLOOR = 16.0
"""Allowed difference in units in the last place (ulp) if the reference has no rounding
error by chance."""


@dataclass(frozen=True)
class Difference:
    """Difference of a quantity from its expected value, over all components."""

    max_abs: float
    """Largest absolute difference, in the unit of the quantity."""
    scale: float
    """Scale of relative differences: largest component, or a larger natural scale."""
    tolerance: float
    """Largest accepted relative difference."""

    @property
    def relative(self) -> float:
        """Largest absolute difference divided by the scale."""
        if self.max_abs == 0:
            return 0.0
        return self.max_abs / self.scale if self.scale > 0 else math.inf

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance; False for NaN."""
        return self.relative <= self.tolerance


def difference(
    pairs: Iterable[tuple[Tensor, Tensor]], tolerance: float, *, floor: float = 0.0
) -> Difference:
    """Compare values with expected ones.

    Args:
        pairs: Values and expected values of equal shapes, with a common scale.
        tolerance: Largest accepted relative difference.
        floor: Lower bound of the scale, in the unit of the values, for values that
            vanish by symmetry up to rounding.

    Returns:
        The difference; `passed` is False for NaN or infinite values.
    """
    largest, scale = 0.0, floor
    for value, expected in pairs:
        if value.shape != expected.shape:
            raise ValueError(
                f"cannot compare shapes {tuple(value.shape)} and "
                f"{tuple(expected.shape)}"
            )
        if value.numel() == 0:
            continue
        a, b = value.detach().double().cpu(), expected.detach().double().cpu()
        distance = float((a - b).abs().max())
        # Python's max() may drop NaN, depending on the order.
        largest = distance if distance > largest or math.isnan(distance) else largest
        scale = max(scale, float(b.abs().max()))
        if math.isnan(largest):
            break
    return Difference(largest, scale, tolerance)


def rounding_tolerance(rounding: Difference, dtype: torch.dtype) -> float:
    """Largest relative difference of two correct computations in low precision.

    Args:
        rounding: Difference of the reference in `dtype` from the reference in float64.
        dtype: Low precision.
    """
    floor = ROUNDING_FLOOR * torch.finfo(dtype).eps
    return max(ROUNDING_FACTOR * rounding.relative, floor)
