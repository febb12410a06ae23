"""Differences from expected values, and tolerances for rounding errors."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

FLOAT64_TOLERANCE = 1e-9
"""Relative difference that two correct computations in float64 stay below.

Rounding of 1e-16 grows through layers and two derivatives, but by less than a factor of
1e5 in every model that was measured; a wrong term shows above 1e-5.
"""
ROUNDING_FACTOR = 10.0
"""Allowed difference over the rounding error of the reference, in low precision.

Another order of sums has errors of the same size; a product by way of a grid or of
Fourier series makes several times larger ones.
"""
ROUNDING_FLOOR = 16.0
"""Allowed difference in units of the last place, where the reference happens to have no
rounding error."""


@dataclass(frozen=True)
class Difference:
    """Distance of one quantity from its expected value, over all of its components."""

    max_abs: float
    """Largest absolute difference, in the unit of the quantity."""
    scale: float
    """What counts as one: the largest component, or a natural scale above it."""
    tolerance: float
    """Largest relative difference that passes."""

    @property
    def relative(self) -> float:
        """Largest difference over the scale."""
        if self.max_abs == 0:
            return 0.0
        return self.max_abs / self.scale if self.scale > 0 else math.inf

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance; NaN is not."""
        return self.relative <= self.tolerance


def difference(
    pairs: Iterable[tuple[Tensor, Tensor]], tolerance: float, *, floor: float = 0.0
) -> Difference:
    """Compare values with expected ones.

    Args:
        pairs: Values and expected values of equal shapes; all share one scale.
        tolerance: Largest relative difference that passes.
        floor: Smallest scale, in the unit of the values: rounding errors of what should
            vanish by symmetry are compared with it.

    Returns:
        The difference; NaN or infinite values do not pass.
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
        # max() of Python drops NaN, depending on the order.
        largest = distance if distance > largest or math.isnan(distance) else largest
        scale = max(scale, float(b.abs().max()))
        if math.isnan(largest):
            break
    return Difference(largest, scale, tolerance)


def rounding_tolerance(rounding: Difference, dtype: torch.dtype) -> float:
    """Relative difference that two correct computations in low precision stay below.

    Args:
        rounding: Of the reference in `dtype` from the reference in float64.
        dtype: The low precision.
    """
    floor = ROUNDING_FLOOR * torch.finfo(dtype).eps
    return max(ROUNDING_FACTOR * rounding.relative, floor)
