"""Hessians of frozen potentials against those of the potentials."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from equipot.calculators import EquipotCalculator
from equipot.frozen import FrozenPotential
from equipot.graph.atomic_graph import collate
from equipot.hessians import (
    hessian,
    hessian_vector_products,
    hessians,
    lowest_modes,
)
from equipot.neighbors import build_graph
from tests.frozen.test_frozen_potential import structures
from tests.potentials import ARCHITECTURES, random_potential

SUPPORTED = sorted(n for n in ARCHITECTURES if not n.startswith("tensornet"))
"""Architectures whose programs have second derivatives."""
QUICK = ("mace_density_agnesi", "nequip_both_parities", "nequix", "zbl")
"""Together, their programs have all instructions; the others are slow tests."""


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, relative to the largest element."""
    scale = float(expected.abs().max())
    return float((found.double() - expected.double()).abs().max()) / scale


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in SUPPORTED
    ],
)
def test_hessians_equal_those_of_the_potential(name):
    potential = random_potential(**ARCHITECTURES[name])
    frozen = FrozenPotential(potential)
    graph = collate([build_graph(a, potential.cutoff) for a in structures()[:3]])
    allowed = 5e-7 if potential.repulsion is not None else 1e-7
    for found, expected in zip(
        hessians(frozen, graph), hessians(potential, graph), strict=True
    ):
        assert difference(found, expected) < allowed
        scale = float(found.abs().max())
        assert float((found - found.permute(2, 3, 0, 1)).abs().max()) < 1e-13 * scale
        assert float(found.sum(dim=2).abs().max()) < 1e-13 * scale


@pytest.mark.parametrize("name", ["lmax2", "mace_residual", "nequix"])
def test_hessians_in_single_precision(name):
    potential = random_potential(**ARCHITECTURES[name])
    graph = build_graph(structures()[0], potential.cutoff)
    expected = hessian(potential, graph)
    frozen = FrozenPotential(potential.float())
    assert difference(hessian(frozen, graph), expected) < 1e-4


@pytest.fixture(scope="module")
def potential():
    return random_potential(lmax=1, num_layers=2, zbl=True)


@pytest.fixture(scope="module")
def frozen(potential):
    return FrozenPotential(potential)


def test_batches_rows_and_products_agree(potential, frozen):
    graphs = [build_graph(a, potential.cutoff) for a in structures()]
    blocks = hessians(frozen, collate(graphs))
    of_prediction = frozen(collate(graphs), ("energy", "hessian"))
    for graph, block, other in zip(graphs, blocks, of_prediction.hessian, strict=True):
        full = hessian(frozen, graph)
        if graph.num_edges:  # programs for other elements have other tables
            assert difference(block, full) < 1e-6
        assert torch.equal(block, other)
    graph, full = graphs[0], hessian(frozen, graphs[0])
    assert torch.equal(hessian(frozen, graph, atoms=[3, 1]), full[[3, 1]])
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(3, graph.num_atoms, 3, generator=generator).double()
    products = hessian_vector_products(frozen, graph, directions)
    for direction, product in zip(directions, products, strict=True):
        (alone,) = hessian_vector_products(frozen, graph, direction[None])
        assert torch.equal(alone, product)
        assert difference(torch.einsum("iajb,jb->ia", full, direction), product) < 1e-12


def test_products_do_not_depend_on_the_number_of_threads(frozen):
    graph = build_graph(molecule("CH3CH2OH"), frozen.cutoff)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(hessian(frozen, graph))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


def test_short_edges_and_isolated_atoms(potential, frozen):
    short = build_graph(Atoms("OH", [(0, 0, 0), (0, 0, 0.2)]), potential.cutoff)
    assert frozen.hessian_products(short, torch.zeros(1, 2, 3)) is None
    assert torch.equal(hessian(frozen, short), hessian(potential, short))
    assert not hessian(frozen, build_graph(Atoms("C"), potential.cutoff)).any()


def test_calculators_and_modes_use_them(potential, frozen):
    atoms = structures()[0]
    graph = build_graph(atoms, potential.cutoff)
    expected = hessian(frozen, graph)
    calculator = EquipotCalculator(potential, on_extrapolation="ignore", frozen=True)
    found = calculator.get_hessian(atoms)
    assert difference(torch.from_numpy(found), expected) < 1e-12
    modes = lowest_modes(frozen, graph, 3)
    exact = lowest_modes(potential, graph, 3)
    assert abs(modes.eigenvalues - exact.eigenvalues).max() < 1e-5


def test_second_derivatives_of_slabs_and_thin_cells_by_differences(frozen):
    atoms = bulk("Si", cubic=False)
    atoms.rattle(0.1, seed=1)
    graph = build_graph(atoms, frozen.cutoff)
    direction = torch.tensor([[[0.3, -0.2, 0.5], [0.1, 0.4, -0.6]]]).double()
    (product,) = hessian_vector_products(frozen, graph, direction)
    step, forces = 1e-4, []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step * direction[0].numpy()
        forces.append(frozen(build_graph(moved, frozen.cutoff)).forces)
    assert difference((forces[1] - forces[0]) / (2 * step), product) < 1e-6
