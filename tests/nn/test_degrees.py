"""Parts for channels per degree against the dense layout and explicit loops."""

import pytest
import torch
from torch.testing import assert_close

from equipot.nn import (
    DegreeRMSNorm,
    ElementLinearPerDegree,
    LinearPerDegree,
    OneHotElement,
    ScalarGate,
    add_degrees,
    dense_layout,
    with_gates,
)
from equipot.so3 import random_rotation, representation_matrix

CHANNELS = (5, 3, 2)


def features(channels=CHANNELS, nodes: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(nodes, 2 * n + 1, c, generator=generator, dtype=torch.float64)
        for n, c in enumerate(channels)
    ]


def turned(x: list[torch.Tensor], generator: torch.Generator) -> list[torch.Tensor]:
    """Features after a rotation and a reflection."""
    matrix = representation_matrix(len(x) - 1, -random_rotation(generator))
    return [
        matrix[n**2 : (n + 1) ** 2, n**2 : (n + 1) ** 2] @ part
        for n, part in enumerate(x)
    ]


def test_each_degree_has_a_matrix_from_its_channels_to_those_of_the_result():
    linear = LinearPerDegree(CHANNELS, (4, 2)).double()
    x = features()

    out = linear(x)

    assert [part.shape for part in out] == [(4, 1, 4), (4, 3, 2)]
    for part, weight, result in zip(x, linear.weights, out, strict=False):
        assert_close(result, torch.einsum("nmc,cd->nmd", part, weight))


@pytest.mark.parametrize("elements", [[2, 0, 2, 3], [1, 1, 1, 1], []])
def test_each_element_has_a_matrix_for_each_degree(elements):
    linear = ElementLinearPerDegree(4, CHANNELS, (4, 2)).double()
    x = features(nodes=len(elements))

    out = linear(x, torch.tensor(elements, dtype=torch.long))

    assert [part.shape[1:] for part in out] == [(1, 4), (3, 2)]
    for degree, part in enumerate(out):
        for node, element in enumerate(elements):
            expected = x[degree][node] @ linear.weights[degree][element]
            assert_close(part[node], expected)


def test_elements_are_channels():
    (x,) = OneHotElement(3)(torch.tensor([2, 0]))

    assert x.tolist() == [[[0, 0, 1]], [[1, 0, 0]]]


def test_missing_degrees_are_zero_in_a_sum():
    x = features()

    first, second, third = add_degrees(x, x[:2])

    assert_close([first, second, third], [2 * x[0], 2 * x[1], x[2]])


def test_the_dense_layout_has_zeros_where_a_degree_has_no_channel():
    x = features()

    dense = dense_layout(x)

    assert dense.shape == (4, 9, 5)
    assert_close(dense[:, 1:4, :3], x[1])
    assert not dense[:, 1:4, 3:].any()
    assert not dense[:, 4:, 2:].any()


def test_gates_are_further_scalars_in_the_order_of_degrees():
    gate = ScalarGate(CHANNELS, 1.7)
    x = features(with_gates(CHANNELS))
    factors = 1.7 * torch.nn.functional.silu(x[0])

    scalars, vectors, tensors = gate(x)

    assert with_gates(CHANNELS) == (10, 3, 2)
    assert_close(scalars, factors[..., :5])
    assert_close(vectors, x[1] * factors[..., 5:8])
    assert_close(tensors, x[2] * factors[..., 8:])


def test_norm_sums_squares_of_channels_and_weighs_degrees():
    norm = DegreeRMSNorm(CHANNELS).double()
    norm.factors[1].data.copy_(torch.tensor([2.0, 3.0, 5.0]))
    x = features()

    out = norm(x)

    for node in range(4):
        total = sum(
            float(part[node, m, c]) ** 2 / (2 * n + 1) ** 2
            for n, part in enumerate(x)
            for m in range(2 * n + 1)
            for c in range(CHANNELS[n])
        )
        scale = (total / 3 + 1e-12) ** -0.5
        assert_close(out[0][node], x[0][node] * scale)
        assert_close(out[1][node], x[1][node] * scale * norm.factors[1])


def test_norm_of_vanishing_features_and_its_derivatives_are_finite():
    x = [torch.zeros(1, 1, 2, requires_grad=True)]

    (out,) = DegreeRMSNorm([2])(x)
    out.sum().backward()

    assert not out.any()
    assert x[0].grad.isfinite().all()


def test_gate_and_norm_commute_with_rotations_and_reflections(generator):
    gate, norm = ScalarGate(CHANNELS, 1.7), DegreeRMSNorm(with_gates(CHANNELS)).double()
    x = features(with_gates(CHANNELS))
    state = generator.get_state()

    before = gate(norm(turned(x, generator)))
    after = turned(gate(norm(x)), generator.set_state(state))

    assert_close(before, after, rtol=0, atol=1e-12)
