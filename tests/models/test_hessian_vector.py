"""Hessian-vector products against differences of forces and the full Hessian."""

import pytest
import torch
from ase import Atoms
from torch.testing import assert_close

from equipot.autodiff.derivatives import hessian_vector_product
from equipot.models.hessian_vector import hessian_vector_products
from equipot.neighbors import build_graph
from tests.potentials import random_potential

STEP = 1e-4


@pytest.mark.parametrize("system", ["ethanol", "silica"])
def test_product_is_the_derivative_of_forces(potential, system, request, generator):
    atoms = request.getfixturevalue(system)
    graph = build_graph(atoms, potential.cutoff)
    v = torch.randn(1, len(atoms), 3, generator=generator, dtype=torch.float64)

    def forces(h):
        moved = atoms.copy()
        moved.positions += h * v[0].numpy()
        return potential(build_graph(moved, potential.cutoff), ("forces",)).forces

    product = hessian_vector_products(potential, graph, v)[0]

    near, far = (forces(h) - forces(-h) for h in (STEP, 2 * STEP))
    expected = -(8 * near - far) / (12 * STEP)
    assert_close(product, expected, rtol=0, atol=1e-7 * float(product.abs().max()))


def test_products_with_all_displacements_are_a_symmetric_hessian(ethanol):
    potential = random_potential(lmax=1, num_layers=2)
    graph = build_graph(ethanol, potential.cutoff)
    size = 3 * len(ethanol)
    units = torch.eye(size, dtype=torch.float64).unflatten(1, (-1, 3))

    hessian = hessian_vector_products(potential, graph, units).flatten(1)

    assert_close(hessian, hessian.T, rtol=0, atol=1e-12)
    by_atom = hessian.unflatten(1, (-1, 3))
    assert_close(by_atom.sum(1), torch.zeros_like(by_atom[:, 0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("atoms", [Atoms(), Atoms("H", positions=[[0, 0, 0]])])
def test_atoms_without_neighbors_have_no_curvature(atoms):
    potential = random_potential(lmax=1, num_layers=1)
    graph = build_graph(atoms, potential.cutoff)
    directions = torch.ones(2, len(atoms), 3, dtype=torch.float64)

    products = hessian_vector_products(potential, graph, directions)

    assert products.shape == directions.shape
    assert not products.any()


def test_detached_forces_are_refused(ethanol):
    potential = random_potential(lmax=0, num_layers=1)
    graph = build_graph(ethanol, potential.cutoff)
    forces = potential(graph, ("forces",)).forces

    with pytest.raises(ValueError, match="create_graph=True"):
        hessian_vector_product(forces, graph.positions, torch.ones_like(forces))
