"""Frames of edges: what they do to directions, to features, and to derivatives."""

import pytest
import torch
from torch.testing import assert_close

from equipot.so3 import degree_slice, representation_matrix, spherical_harmonics
from equipot.so3.edge_frame import (
    Component,
    WignerRows,
    edge_frames,
    half_turn_map,
)
from tests.nasty_edges import NASTY_EDGES

LMAX = 6
POLE = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)


@pytest.fixture
def vectors(generator):
    """Nasty edges of any length, and random ones."""
    random = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    lengths = 0.5 + torch.rand(len(NASTY_EDGES), 1, generator=generator)
    return torch.cat([NASTY_EDGES * lengths, random])


def unit(vectors):
    return torch.nn.functional.normalize(vectors)


def wigner(degree, directions):
    """The whole matrix of a degree."""
    rows = [Component(degree, m) for m in range(-degree, degree + 1)]
    return WignerRows(rows, degree_slice(degree))(edge_frames(LMAX, directions))


@pytest.mark.parametrize("degree", range(LMAX + 1))
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-13), (torch.float32, 1e-5)]
)
def test_harmonics_of_an_edge_become_those_of_the_pole(vectors, degree, dtype, atol):
    directions = unit(vectors).to(dtype)
    harmonics = spherical_harmonics(LMAX, directions)[:, degree_slice(degree), None]

    turned = wigner(degree, directions) @ harmonics

    expected = spherical_harmonics(LMAX, POLE.to(dtype))[:, degree_slice(degree), None]
    assert turned.dtype == dtype
    assert_close(turned, expected.expand_as(turned), rtol=0, atol=atol)


def test_frames_are_rotations(vectors):
    rotations = wigner(1, unit(vectors))

    identity = torch.eye(3, dtype=torch.float64).expand_as(rotations)
    assert_close(rotations @ rotations.mT, identity, rtol=0, atol=1e-14)
    assert_close(rotations.det(), torch.ones(len(vectors)).double(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("degree", range(LMAX + 1))
def test_matrices_represent_the_rotation(vectors, degree):
    directions = unit(vectors)
    where = degree_slice(degree)
    expected = torch.stack(
        [
            representation_matrix(degree, rotation)[where, where]
            for rotation in wigner(1, directions)
        ]
    )

    assert_close(wigner(degree, directions), expected, rtol=0, atol=1e-13)


def test_half_turns_are_symmetric_and_their_own_inverse(vectors):
    """Also for axes that are no bisectors."""
    axes = unit(vectors)
    for degree in range(LMAX + 1):
        harmonics = torch.cat(
            [
                spherical_harmonics(LMAX * 2, axes)[:, degree_slice(even)]
                for even in range(0, 2 * degree + 1, 2)
            ],
            dim=1,
        )
        turns = torch.einsum("eh,hij->eij", harmonics, half_turn_map(degree))

        identity = torch.eye(2 * degree + 1, dtype=torch.float64).expand_as(turns)
        assert_close(turns, turns.mT, rtol=0, atol=1e-13)
        assert_close(turns @ turns, identity, rtol=0, atol=1e-13)


def test_rows_stand_in_the_order_asked_for(vectors):
    directions = unit(vectors)
    rows = WignerRows([Component(2, 1), Component(0, 0), Component(2, -2)], slice(0, 9))

    found = rows(edge_frames(3, directions))

    # products of matrices of another shape round differently
    rounding = 1e-15
    assert_close(found[:, 0, 4:], wigner(2, directions)[:, 3], rtol=0, atol=rounding)
    assert_close(found[:, 1, :1], wigner(0, directions)[:, 0], rtol=0, atol=rounding)
    assert_close(found[:, 2, 4:], wigner(2, directions)[:, 0], rtol=0, atol=rounding)
    assert not found[:, [0, 2], :4].any()
    assert not found[:, 1, 1:].any()


@pytest.mark.parametrize("azimuth", [0.0, 1.0, 3.0])
def test_frames_jump_by_a_roll_across_the_equator(azimuth):
    """A turn about the polar axis: invisible to whatever does not see the roll."""
    x, z = torch.tensor(azimuth).sin().item(), torch.tensor(azimuth).cos().item()
    pair = torch.tensor([[x, 1e-15, z], [x, -1e-15, z]], dtype=torch.float64)

    above, below = wigner(1, unit(pair))

    assert_close((above @ below.T) @ POLE[0], POLE[0], rtol=0, atol=1e-14)


def derivatives(function, vectors):
    """Gradients of three orders along random tangents."""
    generator = torch.Generator().manual_seed(1)
    vectors = vectors.clone().requires_grad_()
    out = function(unit(vectors))
    weights = torch.randn(out.shape, generator=generator, dtype=torch.float64)
    value, grads = (weights * out).sum(), []
    for _ in range(3):
        (grad,) = torch.autograd.grad(value, vectors, create_graph=True)
        grads.append(grad.detach())
        tangent = torch.randn(grad.shape, generator=generator, dtype=torch.float64)
        value = (grad * tangent).sum()
    return grads


@pytest.mark.parametrize("degree", range(1, LMAX + 1))
def test_three_derivatives_of_what_no_roll_changes(vectors, degree):
    """Row m = 0 is the harmonics of the direction, at the poles and on the equator."""
    row = WignerRows([Component(degree, 0)], degree_slice(degree))

    found = derivatives(
        lambda n: row(edge_frames(degree, n))[:, 0] * (2 * degree + 1) ** 0.5, vectors
    )

    expected = derivatives(
        lambda n: spherical_harmonics(degree, n)[:, degree_slice(degree)], vectors
    )
    for grad, reference in zip(found, expected, strict=True):
        scale = reference.abs().max()  # the third derivative grows like l^3
        assert_close(grad / scale, reference / scale, rtol=0, atol=1e-13)


def test_derivatives_of_every_row_equal_finite_differences(vectors):
    """Except where a difference straddles the equator, on which frames jump."""
    away = vectors[unit(vectors)[:, 1].abs() > 1e-3]
    assert set(away[:6, 1].sign().tolist()) == {-1, 1}

    def matrices(vectors):
        return wigner(2, unit(vectors))

    assert torch.autograd.gradcheck(matrices, away[:12].requires_grad_())
    assert torch.autograd.gradgradcheck(matrices, away[:6].detach().requires_grad_())
