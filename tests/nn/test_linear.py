"""Maps between channels against explicit loops."""

import pytest
import torch
from torch.testing import assert_close

from equipot.nn import DegreeLinear, ElementLinear, PathLinear, add_shared_degrees
from equipot.so3 import degree_slice
from equipot.tensor_products import TensorProductSpec


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(5, 9, 3, dtype=torch.float64)


def test_each_degree_has_a_matrix(x):
    linear = DegreeLinear(2, 3, 4).double()

    out = linear(x)

    for degree in range(3):
        part = degree_slice(degree)
        assert_close(out[:, part], x[:, part] @ linear.weight[degree])


def test_each_element_has_a_matrix_for_each_degree(x):
    linear = ElementLinear(1, 4, 3).double()
    elements = torch.tensor([0, 2, 2, 0, 3])  # there is no atom of element 1

    out = linear(x, elements)

    assert out.shape == (5, 4, 3)
    for node, element in enumerate(elements):
        for degree in range(2):
            part = degree_slice(degree)
            expected = x[node, part] @ linear.weight[element, degree]
            assert_close(out[node, part], expected)


@pytest.mark.parametrize("elements", [[2, 2, 2, 2, 2], [3, 0, 2, 0, 3]])
def test_matrices_of_elements_may_change_the_number_of_channels(x, elements):
    linear = ElementLinear(2, 4, 3, 6).double()

    out = linear(x, torch.tensor(elements))

    for node, element in enumerate(elements):
        for degree in range(3):
            part = degree_slice(degree)
            expected = x[node, part] @ linear.weight[element, degree]
            assert_close(out[node, part], expected)


def test_no_atoms_have_no_features():
    empty = torch.zeros(0, 4, 3)

    assert ElementLinear(1, 2, 3)(empty, torch.zeros(0, dtype=torch.long)).shape == (
        0,
        4,
        3,
    )


@pytest.mark.parametrize(
    "spec",
    [
        TensorProductSpec(1, 2, 2, accumulate="concat"),
        TensorProductSpec(2, 1, 3, symmetry="SO(3)", accumulate="concat"),
        TensorProductSpec(0, 1, 2, accumulate="concat"),  # no path ends in degree 2
    ],
)
def test_paths_that_end_in_a_degree_are_mixed_with_one_another(spec):
    linear = PathLinear(spec, 3, 4).double()
    x = torch.randn(5, spec.num_outputs, 3, dtype=torch.float64)
    expected = torch.zeros(5, (spec.lmax_out + 1) ** 2, 4, dtype=torch.float64)
    seen, start = [0] * (spec.lmax_out + 1), 0
    for path in spec.paths:
        degree, width = path.l_out, 2 * path.l_out + 1
        row = 3 * seen[degree]
        matrix = linear.weights[degree][row : row + 3]
        expected[:, degree_slice(degree)] += x[:, start : start + width] @ matrix
        seen[degree] += 1
        start += width

    assert_close(linear(x), expected)


def test_paths_that_are_summed_cannot_be_mixed():
    with pytest.raises(ValueError, match="accumulate='concat'"):
        PathLinear(TensorProductSpec(1, 1, 1), 3, 3)


def test_missing_degrees_are_zero(x):
    assert_close(add_shared_degrees(x, x[:, :4])[:, :4], 2 * x[:, :4])
    assert_close(add_shared_degrees(x, x[:, :4])[:, 4:], x[:, 4:])
