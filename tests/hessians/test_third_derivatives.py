"""Contractions of third derivatives against differences of Hessians."""

from dataclasses import replace

import pytest
import torch
from ase.build import bulk
from torch.testing import assert_close

from equipot.hessians import hessian_vector_products, third_derivative_products
from equipot.neighbors import build_graph
from tests.potentials import random_potential

CUTOFF = 3.0


@pytest.fixture(scope="module")
def potential():
    return random_potential(
        (6,), cutoff=CUTOFF, lmax=1, channels=2, num_layers=2, radial_hidden=(4,)
    )


@pytest.fixture(scope="module")
def graph():
    atoms = bulk("C", "diamond")
    atoms.rattle(0.05, seed=1)
    return build_graph(atoms, CUTOFF)


def random(graph, count, generator):
    shape = (count, graph.num_atoms, 3)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_equal_differences_of_products(potential, graph, generator):
    u, *w = random(graph, 4, generator)
    w = torch.stack(w)

    found = third_derivative_products(potential, graph, u, w)

    def products(step):
        moved = displaced(graph, step * u)
        return hessian_vector_products(potential, moved, w)

    h = 1e-4
    near, far = (products(k * h) - products(-k * h) for k in (1, 2))
    expected = (8 * near - far) / (12 * h)
    assert expected.abs().max() > 1e-3
    assert_close(found, expected, rtol=0, atol=1e-8 * float(expected.abs().max()))


def test_are_symmetric_and_invariant_under_translations(potential, graph, generator):
    u, v, w = random(graph, 3, generator)
    shift = torch.ones_like(u)

    def contracted(a, *others):
        return third_derivative_products(potential, graph, a, torch.stack(others))

    by_v, by_w, none = contracted(u, v, w, shift)
    (by_u,) = contracted(v, u)
    scale = float(by_v.abs().max())
    assert_close(by_v, by_u, rtol=0, atol=1e-12 * scale)
    assert_close((by_v * w).sum(), (by_w * v).sum(), rtol=0, atol=1e-12 * scale)
    assert_close(by_v.sum(dim=0), torch.zeros(3).double(), rtol=0, atol=1e-12 * scale)
    assert_close(none, torch.zeros_like(none), rtol=0, atol=1e-12 * scale)


def displaced(graph, displacement):
    """The same edges, at displaced positions."""
    return replace(graph, positions=graph.positions + displacement)
