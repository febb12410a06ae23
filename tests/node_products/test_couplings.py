"""Symmetric couplings: how many there are, and that they are what they claim."""

import math

import pytest
import torch
from torch.testing import assert_close

from equipot.node_products import couplings as couplings_module
from equipot.node_products.counting import (
    Irrep,
    irreps_of_power,
    natural,
    num_couplings,
)
from equipot.node_products.couplings import symmetric_couplings
from equipot.so3 import random_rotation, representation_matrix
from tests.node_products.dense import coupling_tensors

POWERS = [(lmax, order) for lmax in range(4) for order in (2, 3, 4)]
SMALL = [(1, 2), (1, 3), (1, 4), (1, 5), (2, 2), (2, 3), (2, 4), (3, 2)]


def multiplicity_from_characters(lmax, order, irrep):
    """Mean over O(3) of the character of the symmetric power times that of the irrep.

    Characters of symmetric powers follow from those of powers of a group element by
    Newton's identities; the integrand is a trigonometric polynomial of the angle.
    """
    highest = order * lmax + irrep.degree + 1
    size = 2 * highest + 1
    angles = torch.arange(size, dtype=torch.float64) * 2 * math.pi / size

    def character(degree, angle):
        m = torch.arange(-degree, degree + 1, dtype=torch.float64)
        return (m[:, None] * angle).cos().sum(0)

    def of_features(angle, sign):
        return sum(
            sign**degree * character(degree, angle) for degree in range(lmax + 1)
        )

    mean = 0.0
    for sign in (1, -1):  # rotations, and rotations times the inversion
        powers = [of_features(k * angles, sign**k) for k in range(order + 1)]
        symmetric = [torch.ones_like(angles)]
        for n in range(1, order + 1):
            terms = [powers[k] * symmetric[n - k] for k in range(1, n + 1)]
            symmetric.append(sum(terms) / n)
        parity = irrep.parity if sign == -1 else 1
        haar = 1 - angles.cos()
        mean += (
            haar * symmetric[order] * parity * character(irrep.degree, angles)
        ).mean() / 2
    return float(mean)


@pytest.mark.parametrize(("lmax", "order"), POWERS)
@pytest.mark.parametrize("unnatural", [False, True])
def test_as_many_as_characters_say(lmax, order, unnatural):
    """To every degree that a power of the features contains, and one more."""
    for degree in range(order * lmax + 2):
        irrep = natural(degree)
        if unnatural:
            irrep = Irrep(degree, -irrep.parity)
        expected = multiplicity_from_characters(lmax, order, irrep)
        assert abs(expected - round(expected)) < 1e-9

        assert num_couplings(lmax, order, irrep) == round(expected)


@pytest.mark.parametrize(("lmax", "order"), POWERS)
def test_irreps_fill_the_symmetric_power(lmax, order):
    """Their dimensions add up to the number of monomials."""
    irreps = irreps_of_power(lmax, order)
    dimension = sum(
        (2 * irrep.degree + 1) * num_couplings(lmax, order, irrep) for irrep in irreps
    )

    assert dimension == math.comb((lmax + 1) ** 2 + order - 1, order)


@pytest.mark.parametrize(("lmax", "order"), POWERS)
def test_basis_has_all_couplings(lmax, order):
    """To degrees up to 3 of either parity, each with as many as characters say."""
    for irrep in irreps_of_power(lmax, order):
        if irrep.degree <= 3:
            expected = round(multiplicity_from_characters(lmax, order, irrep))
            basis = symmetric_couplings(lmax, order, irrep)
            assert basis.coefficients.shape == (expected, expected)
            assert len(set(basis.pairs)) == expected
            # well conditioned: combining weights loses no digits
            assert torch.linalg.cond(basis.coefficients) < 10


@pytest.mark.parametrize(("lmax", "order"), SMALL)
def test_basis_is_orthonormal(lmax, order):
    """As full tensors that are symmetrised by averaging over all permutations."""
    for irrep in irreps_of_power(lmax, order):
        if irrep.degree <= 3:
            tensors = coupling_tensors(lmax, order, irrep).flatten(2)
            overlaps = torch.einsum("qki,pli->qkpl", tensors, tensors)
            size = tensors.shape[0] * tensors.shape[1]
            identity = torch.eye(size, dtype=torch.float64)
            assert_close(
                overlaps.flatten(2).flatten(0, 1), identity, rtol=0, atol=1e-13
            )


def test_basis_of_four_factors_of_degree_3_is_orthonormal():
    tensors = coupling_tensors(3, 4, natural(0)).flatten(1)

    identity = torch.eye(23, dtype=torch.float64)
    assert_close(tensors @ tensors.T, identity, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("lmax", "order"), [(1, 4), (2, 3), (3, 2)])
def test_couplings_transform_as_their_irrep(lmax, order, generator):
    for irrep in irreps_of_power(lmax, order):
        for sign in (1, -1):
            q = sign * random_rotation(generator)
            d_in = representation_matrix(lmax, q)
            d = representation_matrix(irrep.degree, q)[irrep.degree**2 :]
            d = d[:, irrep.degree**2 :]
            if sign == -1 and irrep.parity != (-1) ** irrep.degree:
                d = -d
            tensors = coupling_tensors(lmax, order, irrep)

            rotated = tensors
            for _ in range(order):
                rotated = torch.tensordot(rotated, d_in, dims=([2], [0]))
            # contracted axes come back in order at the end
            expected = torch.tensordot(d, tensors, dims=([1], [1])).movedim(0, 1)
            assert_close(rotated, expected, rtol=0, atol=1e-12)


def test_basis_does_not_depend_on_rounding(monkeypatch):
    """Another machine's Wigner 3j symbols give the same basis, up to rounding."""
    expected = symmetric_couplings(3, 4, natural(2))
    generator = torch.Generator().manual_seed(0)
    exact = couplings_module.wigner_3j

    def rounded(*degrees):
        symbol = exact(*degrees)
        noise = torch.randn(symbol.shape, generator=generator, dtype=torch.float64)
        return symbol * (1 + 1e-15 * noise)

    monkeypatch.setattr(couplings_module, "wigner_3j", rounded)
    for function in (symmetric_couplings, couplings_module._all_components):
        function.cache_clear()
    try:
        result = symmetric_couplings(3, 4, natural(2))
    finally:
        for function in (symmetric_couplings, couplings_module._all_components):
            function.cache_clear()

    assert result is not expected
    assert not torch.equal(result.coefficients, expected.coefficients)
    assert result.pairs == expected.pairs
    assert_close(result.coefficients, expected.coefficients, rtol=0, atol=1e-11)


def test_each_coupling_contains_its_own_pair_with_positive_sign():
    for degree in range(4):
        coefficients = symmetric_couplings(3, 3, natural(degree)).coefficients

        assert (coefficients.diagonal() > 0).all()
        assert not coefficients.triu(1).any()


def test_a_wrong_coupling_is_noticed(monkeypatch):
    """Overlaps would not be a projector, or not of the rank that characters say."""
    exact = couplings_module.wigner_3j

    def wrong(l1, l2, l3):
        symbol = exact(l1, l2, l3)
        return symbol * 1.001 if (l1, l2, l3) == (2, 1, 1) else symbol

    monkeypatch.setattr(couplings_module, "wigner_3j", wrong)
    with pytest.raises(ArithmeticError, match=r"differ .* from a projector of rank 2"):
        symmetric_couplings.__wrapped__(1, 3, natural(1))
