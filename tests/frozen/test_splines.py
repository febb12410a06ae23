"""Tabulated functions: accuracy, discontinuities, and refusal."""

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from equipot.frozen.builder import _allocate
from equipot.frozen.splines import DEGREE, InaccurateTableError, tabulate


def test_errors_of_smooth_functions_fall_with_the_sixth_power_of_the_step():
    errors = [
        tabulate(lambda r: torch.sin(4 * r)[:, None], [0.3, 5.0], 1.0, fewest=n).error
        for n in (64, 128)
    ]
    # slopes of quintic splines have errors of the fifth power, and of the sixth halfway
    assert 25 < errors[0] / errors[1] < 90


def test_a_bound_at_a_discontinuity_keeps_the_accuracy():
    def function(r):
        return torch.where(r < 2, torch.zeros_like(r), (r - 2) ** 2)[:, None]

    assert tabulate(function, [0.3, 2.0, 5.0], 1e-9, fewest=64).num_intervals == 64
    with pytest.raises(InaccurateTableError, match="of the largest slope"):
        tabulate(function, [0.3, 5.0], 1e-9)


def test_knots_are_uniform_beyond_the_ends_of_segments():
    """Programs assume it; knots in float32 would change slopes by 1e-6."""
    table = tabulate(lambda r: torch.exp(-r)[:, None], [0.3, 1.32, 1.42, 2.0], 1e-9)
    row = 0
    for start, stop, intervals in table.segments.tolist():
        count = int(intervals) + DEGREE
        knots = start + (stop - start) / intervals * np.arange(-DEGREE, count + 1)
        spline = BSpline(knots, table.coefficients[0, row : row + count, 0], DEGREE)
        row += count
        lengths = np.linspace(start, stop, 1000)
        slopes = spline.derivative()(lengths)
        np.testing.assert_allclose(slopes, -np.exp(-lengths), rtol=0, atol=1e-9)


def test_tables_of_pairs_have_the_same_segments():
    pairs = torch.tensor([[0, 1], [1, 2]])
    table = tabulate(
        lambda r: torch.stack([r, r**2, r**3], dim=1), [0.3, 4.0], 1e-9, pairs
    )
    assert table.coefficients.shape == (3, table.num_intervals + 5, 1)
    assert table.pairs is pairs


def test_memory_that_is_used_at_the_same_time_does_not_overlap():
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randint(0, 30, (40, 3), generator=generator).tolist()
    spans = [(min(a, b), max(a, b), 16 * (1 + c)) for a, b, c in numbers]
    offsets, total = _allocate(spans)
    for n, (first, last, size) in enumerate(spans):
        assert 0 <= offsets[n] <= total - size
        for m in range(n):
            other_first, other_last, other_size = spans[m]
            if other_first <= last and first <= other_last:
                apart = offsets[n] + size <= offsets[m]
                assert apart or offsets[m] + other_size <= offsets[n]
    assert total < sum(size for *_, size in spans)
