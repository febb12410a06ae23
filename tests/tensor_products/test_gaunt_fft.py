"""Series are padded as far as their convolution needs, and no further."""

import pytest

from equipot.tensor_products import ClebschGordan, TensorProductSpec, gaunt_fft
from equipot.tensor_products.function_product import Degrees
from equipot.tensor_products.gaunt_fft import GauntFFT, padded_shape
from tests.contracts.test_tensor_products import convolve, random_inputs


def relative_error(spec):
    inputs = random_inputs(spec)
    expected = convolve(ClebschGordan(spec), *inputs)
    found = convolve(GauntFFT(spec), *inputs)
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("symmetry", ["O(3)", "SO(3)"])
@pytest.mark.parametrize(("fewer_u", "fewer_v"), [(0, 0), (2, 0), (0, 1)])
@pytest.mark.parametrize(
    "lmax", [(1, 1, 1), (2, 2, 2), (3, 2, 4), (3, 3, 3), (1, 2, 2), (6, 6, 6)]
)
def test_a_frequency_fewer_is_wrong(lmax, fewer_u, fewer_v, symmetry, monkeypatch):
    spec = TensorProductSpec(*lmax, "per_degree", symmetry)
    size_u, size_v = padded_shape(Degrees(*lmax))
    shape = (size_u - fewer_u, size_v - fewer_v)
    monkeypatch.setattr(gaunt_fft, "padded_shape", lambda degrees: shape)

    error = relative_error(spec)

    assert error > 1e-3 if fewer_u or fewer_v else error < 1e-13


def test_shape_of_three_functions_of_degree_3():
    """Polar frequencies -6 to 6 of the product, azimuthal ones -3 to 3 of operands."""
    assert padded_shape(Degrees(3, 3, 3)) == (13, 7)
