"""The dense Hessian: finite differences, and the identities every Hessian satisfies."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch.testing import assert_close

from equipot.autodiff.parallel_rows import for_each_row
from equipot.hessians import hessian
from equipot.hessians.dense import columns_that_fit
from equipot.models.build import unsupported, with_backend
from equipot.models.products import specs_of
from equipot.neighbors import build_graph
from equipot.tensor_products import BACKENDS
from equipot.tensor_products.availability import unavailable
from tests.closed_form_models import LennardJones
from tests.potentials import random_potential


def matrix(model, atoms, **options):
    full = hessian(model, build_graph(atoms, model.cutoff), **options)
    return full.reshape(3 * len(full), 3 * len(atoms))


def twins(backend):
    """A potential with the reference backend and the same one with another."""
    if (reason := unavailable(backend, torch.device("cpu"))) is not None:
        pytest.skip(reason)
    reference = random_potential(lmax=1, num_layers=2)
    if unsupported(backend, specs_of(reference)) is not None:
        reference = random_potential(lmax=1, num_layers=2, weighting="per_degree")
    return reference, with_backend(reference, backend)


def differences(model, atoms, step):
    """Central differences of forces, all atoms in all directions."""

    def forces(n, axis, h):
        moved = atoms.copy()
        moved.positions[n, axis] += h
        graph = build_graph(moved, model.cutoff)
        return model(graph, ("forces",), create_graph=False).forces.flatten()

    return torch.stack(
        [
            (forces(n, axis, -step) - forces(n, axis, step)) / (2 * step)
            for n in range(len(atoms))
            for axis in range(3)
        ]
    )


def relative(difference, scale):
    return float(difference.abs().max() / scale.abs().max())


@pytest.mark.parametrize("system", ["water", "silica"])
def test_differences_of_forces_approach_it_with_the_square_of_the_step(
    system, silica, record_property
):
    water = Atoms("HOH", positions=[[1.0, 0.1, 0], [0, 0, 0], [-0.2, 0.9, 0.3]])
    atoms = {"water": water, "silica": silica}[system]
    model = random_potential(lmax=2, num_layers=2)
    exact = matrix(model, atoms)
    steps = [1e-2, 1e-3, 1e-4, 1e-5]

    errors = [relative(differences(model, atoms, h) - exact, exact) for h in steps]

    record_property("measured", f"Hessian of {system} by differences: {errors}")
    for coarse, fine in pairwise(errors[:3]):
        assert coarse / fine == pytest.approx(100, rel=0.1)
    assert errors[-1] < 1e-8


def check_identities(model, atoms):
    """Symmetry, no force from translations, turned forces from rotations."""
    graph = build_graph(atoms, model.cutoff)
    h = hessian(model, graph)
    flat = h.flatten(0, 1).flatten(1)
    assert relative(flat - flat.T, flat) < 1e-12
    assert relative(h.sum(2), h) < 1e-12
    if not atoms.pbc.any():
        gradient = -model(graph, {"forces"}, create_graph=False).forces
        for axis in torch.eye(3, dtype=torch.float64):
            turned = torch.linalg.cross(axis.expand_as(gradient), graph.positions)
            expected = torch.linalg.cross(axis.expand_as(gradient), gradient)
            assert relative((flat @ turned.flatten()) - expected.flatten(), h) < 1e-10


@pytest.mark.parametrize("system", ["ethanol", "silica"])
def test_identities_in_all_architectures(potential, system, request):
    check_identities(potential, request.getfixturevalue(system))


@pytest.mark.parametrize("backend", BACKENDS)
def test_identities_and_values_with_all_backends(backend, ethanol):
    reference, model = twins(backend)

    check_identities(model, ethanol)

    expected = matrix(reference, ethanol)
    assert relative(matrix(model, ethanol) - expected, expected) < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("columns", [4, 100])
def test_batched_columns_equal_the_loop(backend, columns, ethanol):
    _, model = twins(backend)
    small = ethanol[:4]

    batched, loop = (matrix(model, small, columns=n) for n in (columns, 1))

    assert relative(batched - loop, loop) < 1e-13


def test_rows_of_some_atoms_are_rows_of_the_whole(silica):
    """As for atoms on a frozen slab, and for phonopy's compact force constants."""
    model = random_potential(lmax=1, num_layers=2)
    supercell = silica * (2, 1, 1)
    graph = build_graph(supercell, model.cutoff)

    rows = hessian(model, graph, atoms=[3, 0])

    assert rows.shape == (2, 3, len(supercell), 3)
    assert_close(rows, hessian(model, graph)[[3, 0]], rtol=0, atol=0)
    assert hessian(model, graph, atoms=[]).shape == (0, 3, len(supercell), 3)


def test_lennard_jones_minimum_has_its_closed_form():
    """At r = 2^(1/6) sigma the curvature is 72 epsilon / (2^(1/3) sigma^2)."""
    model = LennardJones(epsilon=0.3, sigma=1.7)
    atoms = Atoms("Ar2", positions=[[0, 0, 0], [2 ** (1 / 6) * 1.7, 0, 0]])

    h = hessian(model, build_graph(atoms, model.cutoff))

    stiffness = 72 * 0.3 / (2 ** (1 / 3) * 1.7**2)
    expected = torch.zeros_like(h)
    expected[0, 0, 0, 0] = expected[1, 0, 1, 0] = stiffness
    expected[0, 0, 1, 0] = expected[1, 0, 0, 0] = -stiffness
    assert_close(h, expected, rtol=0, atol=1e-13 * stiffness)


def test_edges_of_a_cell_with_one_atom_cancel():
    """Moving a lattice as a whole costs nothing."""
    model = random_potential(lmax=1, num_layers=2)

    h = matrix(model, bulk("Si", "fcc", a=3.0))

    assert_close(h, torch.zeros(3, 3).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("atoms", [Atoms(), Atoms("H", positions=[[0, 0, 0]])])
def test_atoms_without_neighbors_have_a_zero_hessian(atoms):
    h = matrix(random_potential(lmax=1, num_layers=1), atoms)

    assert h.shape == (3 * len(atoms), 3 * len(atoms))
    assert not h.any()


def test_float32_model_differs_by_its_rounding(ethanol):
    model = random_potential(lmax=1, num_layers=2)
    exact = matrix(model, ethanol)

    single = matrix(random_potential(lmax=1, num_layers=2).float(), ethanol)

    assert relative(single - exact, exact) < 1e-4


def test_weights_and_mode_stay_as_they_are(ethanol):
    model = random_potential(lmax=1, num_layers=1).train()
    frozen = next(model.parameters()).requires_grad_(False)
    before = [p.requires_grad for p in model.parameters()]

    h = matrix(model, ethanol)

    assert model.training
    assert [p.requires_grad for p in model.parameters()] == before
    assert not frozen.requires_grad
    assert not h.requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_columns_fit_into_the_memory_that_is_left():
    assert columns_that_fit(free=4 << 30, graph_bytes=1 << 20, rows=81) == 81
    assert columns_that_fit(free=4 << 30, graph_bytes=1 << 26, rows=81) == 16
    assert columns_that_fit(free=1 << 20, graph_bytes=1 << 30, rows=81) == 1
    assert columns_that_fit(free=1 << 20, graph_bytes=0, rows=81) == 81


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"atoms": [9]}, r"indices must be from 0 to 8, got \[9\]"),
        ({"atoms": [-1]}, r"indices must be from 0 to 8, got \[-1\]"),
        ({"columns": 0}, "columns must be a positive number or 'auto', got 0"),
    ],
)
def test_refusals(options, message, ethanol):
    model = random_potential(lmax=0, num_layers=1)
    with pytest.raises(ValueError, match=message):
        hessian(model, build_graph(ethanol, model.cutoff), **options)


def test_rotation_of_the_molecule_rotates_the_hessian(ethanol):
    """Blocks are tensors: H' = R H R^T, reflections included."""
    model = random_potential(lmax=2, num_layers=2)
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turned = ethanol.copy()
    turned.positions = ethanol.positions @ q.T

    before, after = (
        hessian(model, build_graph(a, model.cutoff)) for a in (ethanol, turned)
    )

    r = torch.from_numpy(q)
    expected = torch.einsum("ab,ibjc,dc->iajd", r, before, r)
    assert relative(after - expected, expected) < 1e-12


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(threads, ethanol):
    potential = random_potential(lmax=1, num_layers=2)
    graph = build_graph(ethanol, potential.cutoff)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = hessian(potential, graph)
    try:
        torch.set_num_threads(threads)
        for _ in range(3):
            assert torch.equal(hessian(potential, graph), alone)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_what_a_thread_raises_is_raised():
    def fail(row):
        if row == 5:
            raise ValueError("row 5")

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="row 5"):
            for_each_row(fail, 9)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
