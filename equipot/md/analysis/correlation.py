"""Correlation functions over all time origins, by Fourier transforms."""

import numpy as np
from jaxtyping import Float
from scipy.fft import irfft, next_fast_len, rfft

CHUNK = 256
"""Series that are transformed at a time."""


def autocorrelation(
    series: Float[np.ndarray, "times series"],
) -> Float[np.ndarray, "times series"]:
    """Mean of the product of each series with itself later, by lag.

    Args:
        series: At equal times.
    """
    times = len(series)
    size = next_fast_len(2 * times, real=True)
    counts = np.arange(times, 0, -1)[:, None]
    result = np.empty_like(series)
    for start in range(0, series.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        power = np.abs(rfft(series[:, part], size, axis=0)) ** 2
        result[:, part] = irfft(power, size, axis=0)[:times] / counts
    return result


def mean_square_displacement(
    positions: Float[np.ndarray, "times atoms 3"],
) -> Float[np.ndarray, "times 3"]:
    """Mean square displacement by lag and direction, over atoms and origins.

    Args:
        positions: Unwrapped.

    Source:
        V. Calandrini et al., Collection SFN 12, 201 (2011), section 3.2.
    """
    times, atoms, _ = positions.shape
    # distances to the mean are shorter: less is lost in the difference below
    series = (positions - positions.mean(axis=0)).reshape(times, -1)
    squares = series**2
    ends = np.cumsum(squares, axis=0) + np.cumsum(squares[::-1], axis=0)
    counts = np.arange(times, 0, -1)[:, None]
    result = ends[::-1] / counts - 2 * autocorrelation(series)
    result[0] = 0.0
    means: np.ndarray = result.reshape(times, atoms, 3).mean(axis=1)
    return means
