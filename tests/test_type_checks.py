"""Types and shapes are checked in the first calls of each function in each test."""

import pytest
import torch
from jaxtyping import TypeCheckError

from equipot.nn.radial import polynomial_envelope

FIRST_CALLS = 20
"""Checked calls, see conftest.py."""


@pytest.mark.parametrize("test", ["first", "second"])
def test_the_first_calls_of_every_test_are_checked(test):
    for _ in range(FIRST_CALLS - 1):
        polynomial_envelope(torch.ones(3, 1), 6)

    with pytest.raises(TypeCheckError, match="polynomial_envelope"):
        polynomial_envelope(torch.ones(3, 2), 6)
    polynomial_envelope(torch.ones(3, 2), 6)
