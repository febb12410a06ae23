"""Functions of the length as splines."""

import numpy as np
import torch
from scipy.interpolate import BSpline

from equipot.frozen.splines import DEGREE, tabulate


def test_splines_are_uniform_up_to_the_ends_of_segments():
    """Programs evaluate them so; float32 knots beyond the ends change slopes by 1e-6."""
    table = tabulate(
        lambda r: torch.exp(-r)[:, None], [0.3, 1.32, 1.42, 2.0], tolerance=1e-9
    )
    row = 0
    for start, stop, intervals in table.segments.tolist():
        count = int(intervals) + DEGREE
        step = (stop - start) / intervals
        knots = start + step * np.arange(-DEGREE, count + 1)
        spline = BSpline(knots, table.coefficients[0, row : row + count, 0], DEGREE)
        row += count
        lengths = np.linspace(start, stop, 1000)
        np.testing.assert_allclose(spline(lengths), np.exp(-lengths), 0, 1e-11)
        slopes = spline.derivative()(lengths)
        np.testing.assert_allclose(slopes, -np.exp(-lengths), 0, 1e-9)
