"""The block-sparse Hessian equals the dense one, and stores no more than it must."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from equipot.graph.atomic_graph import collate
from equipot.hessians import hessian, lowest_modes, sparse_hessian
from equipot.neighbors import build_graph
from tests.closed_form_models import LennardJones, StillingerWeber
from tests.potentials import random_potential


def chain(count):
    """Atoms 2 Å apart along a crooked line: neighbors of neighbors do not touch."""
    positions = np.zeros((count, 3))
    positions[:, 0] = 2.0 * np.arange(count)
    positions[:, 1] = 0.3 * np.cos(np.arange(count))
    return Atoms(f"Si{count}", positions=positions)


def dense(model, graph):
    return hessian(model, graph).flatten(0, 1).flatten(1).numpy()


def crystal(element, repeat):
    atoms = bulk(element, cubic=True) * repeat
    atoms.rattle(0.05, seed=1)
    return atoms


MODELS = {
    "one_layer": lambda: random_potential(lmax=1, num_layers=1, cutoff=3.0),
    "two_layers": lambda: random_potential(lmax=2, num_layers=2, cutoff=3.0),
    "three_layers": lambda: random_potential(lmax=1, num_layers=3, cutoff=3.0),
    "zbl": lambda: random_potential(lmax=0, num_layers=2, cutoff=3.0, zbl=True),
    "lennard_jones": lambda: LennardJones(sigma=2.0, cutoff=3.0),
    "stillinger_weber": StillingerWeber,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("system", ["chain", "small_cell", "crystal"])
def test_equals_the_dense_hessian(name, system):
    model = MODELS[name]()
    atoms = {
        "chain": chain(20),
        "small_cell": crystal("Si", (1, 1, 2)),
        "crystal": crystal("Si", (5, 1, 1)),
    }[system]
    graph = build_graph(atoms, model.cutoff + 0.7)  # longer edges carry nothing
    expected = dense(model, graph)

    sparse = sparse_hessian(model, graph)

    assert sparse.blocksize == (3, 3)
    assert sparse.shape == expected.shape
    error = np.abs(sparse.toarray() - expected).max()
    assert error <= 1e-13 * np.abs(expected).max()


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_stores_blocks_within_twice_the_layers_only(layers):
    model = random_potential(lmax=1, num_layers=layers, cutoff=3.0)

    sparse = sparse_hessian(model, build_graph(chain(30), 3.0))

    blocks = np.diff(sparse.indptr)
    assert blocks.max() == 4 * layers + 1
    assert blocks[0] == 2 * layers + 1
    # and the outermost are not zero: no fewer would do
    farthest = sparse.toarray().reshape(30, 3, 30, 3)[15, :, 15 + 2 * layers]
    assert np.abs(farthest).max() > 0


def test_result_does_not_depend_on_the_size_of_batches():
    model = random_potential(lmax=1, num_layers=2, cutoff=3.0)
    graph = build_graph(crystal("Si", (3, 1, 1)), model.cutoff)

    one, many = (sparse_hessian(model, graph, edges_at_once=n) for n in (1, 10**6))

    assert (one.indices == many.indices).all()
    assert np.abs(one.data - many.data).max() <= 1e-13 * np.abs(one.data).max()


def test_rows_of_some_atoms_come_in_their_order():
    model = random_potential(lmax=1, num_layers=2, cutoff=3.0)
    graph = build_graph(crystal("Si", (3, 1, 1)), model.cutoff)

    rows = sparse_hessian(model, graph, atoms=[7, 2])

    expected = hessian(model, graph, atoms=[7, 2]).reshape(6, -1).numpy()
    assert np.abs(rows.toarray() - expected).max() <= 1e-13 * np.abs(expected).max()
    assert sparse_hessian(model, graph, atoms=[]).shape == (0, 72)


def test_too_short_a_reach_is_noticed_by_the_dense_hessian():
    """Two layers reach two edges: with one, blocks are missing and others are wrong."""
    model = random_potential(lmax=1, num_layers=2, cutoff=3.0)
    graph = build_graph(chain(12), model.cutoff)

    short = sparse_hessian(model, graph, num_layers=1)

    assert np.abs(short.toarray() - dense(model, graph)).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"atoms": [8]}, r"indices must be from 0 to 7, got \[8\]"),
        ({"num_layers": 0}, "num_layers must be positive, got 0"),
        ({"edges_at_once": 0}, "edges_at_once must be positive, got 0"),
    ],
)
def test_sparse_refusals(options, message):
    model = random_potential(lmax=0, num_layers=1)
    graph = build_graph(crystal("Si", (1, 1, 1)), model.cutoff)
    with pytest.raises(ValueError, match=message):
        sparse_hessian(model, graph, **options)
    with pytest.raises(ValueError, match="got a batch of 2"):
        sparse_hessian(model, collate([graph, graph]))


@pytest.mark.parametrize("known", [False, True], ids=["products", "sparse"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "masses"])
def test_lowest_modes_are_those_of_the_dense_hessian(known, weighted):
    model = StillingerWeber()
    atoms = crystal("Si", (2, 1, 1))
    graph = build_graph(atoms, model.cutoff)
    masses = np.linspace(20, 40, len(atoms)) if weighted else np.ones(len(atoms))
    roots = np.repeat(np.sqrt(masses), 3)

    modes = lowest_modes(
        model,
        graph,
        5,
        masses=masses if weighted else None,
        hessian=sparse_hessian(model, graph) if known else None,
    )

    h = dense(model, graph) / np.outer(roots, roots)
    values = np.linalg.eigvalsh(h)
    still = np.argsort(np.abs(values))[:3]  # translations
    expected = np.delete(values, still)[:5]
    assert modes.eigenvalues == pytest.approx(expected, rel=1e-7)
    v = modes.vectors.reshape(5, -1)
    assert v @ v.T == pytest.approx(np.eye(5), abs=1e-10)
    assert h @ v.T == pytest.approx(v.T * modes.eigenvalues, abs=1e-5)


def test_more_modes_than_there_are_is_refused():
    model = LennardJones()
    graph = build_graph(chain(3), model.cutoff)
    with pytest.raises(ValueError, match="k must be between 1 and 5"):
        lowest_modes(model, graph, 6)


def test_float32_models_have_sparse_hessians():
    model = random_potential(lmax=1, num_layers=1, cutoff=3.0).float()
    graph = build_graph(chain(5), model.cutoff, dtype=torch.float32)
    assert sparse_hessian(model, graph).dtype == np.float32
