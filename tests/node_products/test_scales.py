"""Second moments of node products, by quadrature that is exact for Gaussians."""

import itertools

import torch
from numpy.polynomial.hermite_e import hermegauss
from torch.testing import assert_close

from equipot.node_products import ClebschGordan, NodeProductSpec
from equipot.node_products.scales import coupling_scales, degree_scales


def gaussian_quadrature():
    """Features of lmax 1 and their weights; exact to power nine of each component."""
    nodes, weights = map(torch.from_numpy, hermegauss(5))
    weights = weights / weights.sum()
    grid = torch.cartesian_prod(*[nodes] * 4)
    return grid, torch.cartesian_prod(*[weights] * 4).prod(1)


def test_each_coupling_has_its_share():
    """One over the orders that reach a degree and over the couplings of the order."""
    spec = NodeProductSpec(1, 2, 4)
    x, areas = gaussian_quadrature()
    n = spec.num_weights
    share = []
    for block in spec.blocks:
        orders = 4 if block.irrep.degree < 2 else 3
        share += [1 / (orders * block.num_couplings)] * block.num_couplings
    # couplings as channels: each has a weight of its own
    weights = torch.eye(n, dtype=torch.float64).expand(len(x), n, n)

    values = ClebschGordan(spec)(x[:, :, None].expand(-1, -1, n), weights)

    moments = torch.einsum("n,nkq->kq", areas, values**2)
    row = 0
    for degree in range(3):
        for q, block in enumerate(
            b for b in spec.blocks for _ in range(b.num_couplings)
        ):
            if block.irrep.degree == degree:
                expected = torch.full((2 * degree + 1,), share[q]).double()
                block_moments = moments[row : row + 2 * degree + 1, q]
                assert_close(block_moments, expected, rtol=1e-7, atol=0)
        row += 2 * degree + 1


def test_four_functions_have_their_share():
    """Mean over weights: the sum over all choices of one degree of each factor."""
    spec = NodeProductSpec(1, 4, 4, "per_degree")
    x, areas = gaussian_quadrature()
    choices = list(itertools.product(range(2), repeat=4))
    weights = torch.zeros(spec.num_weights, len(choices), dtype=torch.float64)
    first = spec.num_weights - spec.weights_of_order(4)
    weights[-5:] = 1
    for c, degrees in enumerate(choices):
        for k, degree in enumerate(degrees):
            weights[first + 2 * k + degree, c] = 1

    values = ClebschGordan(spec)(
        x[:, :, None].expand(-1, -1, len(choices)), weights.expand(len(x), -1, -1)
    )

    moments = torch.einsum("n,nkc->k", areas, values**2)
    orders = torch.tensor([4, 4, 3, 2, 1])  # that reach each degree
    expected = (1 / orders.double()).repeat_interleave(2 * torch.arange(5) + 1)
    assert_close(moments, expected, rtol=1e-12, atol=0)


def test_degrees_out_of_reach_are_zero():
    scales = degree_scales(NodeProductSpec(1, 3, 2, "per_degree"))

    assert scales.shape == (2, 4)
    assert (scales > 0).tolist() == [[True, True, False, False], [True] * 3 + [False]]


def test_scales_are_in_the_order_of_blocks():
    spec = NodeProductSpec(2, 1, 3, symmetry="SO(3)")

    sizes = [len(scales) for scales in coupling_scales(spec)]

    assert sizes == [block.num_couplings for block in spec.blocks]
    assert sum(sizes) == spec.num_weights
