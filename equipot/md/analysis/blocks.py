"""Averages of correlated time series, with standard errors by blocking."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

FEWEST_BLOCKS = 4
MIN_RELATIVE_ERROR = 1e-12
"""Relative error of a mean below which all values are equal up to rounding."""


@dataclass(frozen=True)
class Average:
    """Mean of a time series and its standard error."""

    mean: float
    error: float | None
    """Standard error of the mean; None if the series is too short."""
    deviation: float
    """Standard deviation of the values."""
    samples: int
    change: float | None
    """Mean of the second half minus that of the first, in standard errors of this
    difference; None if the series is too short."""

    def record(self) -> dict[str, float | int | None]:
        """All fields as JSON values."""
        return {
            "mean": self.mean,
            "error": self.error,
            "standard_deviation": self.deviation,
            "samples": self.samples,
        }


def average(values: Float[np.ndarray, " samples"]) -> Average:
    """Mean of a time series with its standard error by blocking.

    Args:
        values: Series, equally spaced in time.
    """
    error = block_error(values)
    if error == 0.0:
        return Average(float(values[0]), 0.0, 0.0, len(values), None)
    half = len(values) // 2
    first, second = values[:half], values[half:]
    errors = block_error(first), block_error(second)
    change = None
    if errors[0] is not None and errors[1] is not None:
        width = float(np.hypot(errors[0], errors[1]))
        if width > 0:
            change = float(second.mean() - first.mean()) / width
    return Average(
        mean=float(values.mean()),
        error=error,
        deviation=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        samples=len(values),
        change=change,
    )


def block_error(values: Float[np.ndarray, " samples"]) -> float | None:
    r"""Standard error of the mean of a correlated series.

    The block length B is increased until :math:`B^3 > 2 n (\sigma_B / \sigma_1)^4`,
    where :math:`\sigma_B` is the error estimated from blocks of length B.

    Args:
        values: Series, equally spaced in time.

    Returns:
        The error; None if no block length with at least four blocks is long enough.

    Source:
        R. M. Lee et al., Phys. Rev. E 83, 066706 (2011), eq. 28.
    """
    n = len(values)
    if n < 2 * FEWEST_BLOCKS:
        return None
    naive = float(values.std(ddof=1)) / n**0.5
    if naive <= MIN_RELATIVE_ERROR * abs(float(values.mean())):
        return 0.0
    length = 1
    while n // length >= FEWEST_BLOCKS:
        count = n // length
        means = values[: count * length].reshape(count, length).mean(axis=1)
        error = float(means.std(ddof=1)) / count**0.5
        if length**3 > 2 * n * (error / naive) ** 4:
            return error
        length *= 2
    return None
