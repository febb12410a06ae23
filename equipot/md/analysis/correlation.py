"""Time correlation functions over all time origins, by Fourier transforms."""

import numpy as np
from jaxtyping import Float
from scipy.fft import irfft, next_fast_len, rfft

SERIES_PER_TRANSFORM = 256
"""Number of series per Fourier transform, which bounds the memory."""


def autocorrelation(
    series: Float[np.ndarray, "times series"],
) -> Float[np.ndarray, "times series"]:
    """Autocorrelation of each series by lag, averaged over time origins.

    Args:
        series: Columns are series, equally spaced in time.
    """
    times = len(series)
    size = next_fast_len(2 * times, real=True)
    counts = np.arange(times, 0, -1)[:, None]
    result = np.empty_like(series)
    for start in range(0, series.shape[1], SERIES_PER_TRANSFORM):
        part = slice(start, start + SERIES_PER_TRANSFORM)
        power = np.abs(rfft(series[:, part], size, axis=0)) ** 2
        result[:, part] = irfft(power, size, axis=0)[:times] / counts
    return result


def mean_square_displacement(
    positions: Float[np.ndarray, "times atoms 3"],
) -> Float[np.ndarray, "times 3"]:
    """Mean square displacement by lag and direction, averaged over atoms and origins.

    Args:
        positions: Unwrapped positions.

    Source:
        V. Calandrini et al., Collection SFN 12, 201 (2011), section 3.2.
    """
    times, atoms, _ = positions.shape
    # Relative to the mean, coordinates are smaller and less precision is lost below.
    series = (positions - positions.mean(axis=0)).reshape(times, -1)
    squares = series**2
    ends = np.cumsum(squares, axis=0) + np.cumsum(squares[::-1], axis=0)
    counts = np.arange(times, 0, -1)[:, None]
    result = ends[::-1] / counts - 2 * autocorrelation(series)
    result[0] = 0.0
    means: np.ndarray = result.reshape(times, atoms, 3).mean(axis=1)
    return means
