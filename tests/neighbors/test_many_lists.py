"""Neighbor lists of many structures are those of single searches."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from equipot.graph.atomic_graph import check_edges, collate
from equipot.graph.edge_pairs import find_pairs
from equipot.neighbors import build_batch, build_graph, many, neighbor_lists
from equipot.neighbors.interface import neighbor_list


@pytest.fixture
def structures():
    """Molecules in the order of their sizes and in no order, among crystals."""
    made = [molecule(name) for name in ("C6H6", "H2", "CH3CH2OH")]
    made += [Atoms(), Atoms("H"), bulk("Si"), molecule("H2O"), bulk("Cu").repeat(2)]
    made += [bulk("SiC", "zincblende", a=4.4, cubic=True), bulk("Cu"), bulk("Cu")]
    made[-3].set_cell(-made[-3].cell @ np.array([[1, 0, 0.3], [0, 1, 0], [0, 0.2, 1]]))
    made[-2].pbc = (True, True, False)
    made[-1].set_cell([[0, 0, 9.0], [0, 2.0, 8.0], [2.0, 0.1, 8.5]])
    for seed, atoms in enumerate(made):
        atoms.rattle(0.1, seed=seed)
        atoms.positions += 7 * seed
    return made


@pytest.mark.parametrize("most", [1, 50, 10**6])
def test_pairs_are_those_of_single_searches(structures, most, monkeypatch):
    monkeypatch.setattr(many, "MAX_CANDIDATES", most)

    found = neighbor_lists(structures, 2.9)

    for atoms, pairs in zip(structures, found, strict=True):
        single = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 2.9)
        ours, theirs = pairs.canonical(), single.canonical()
        np.testing.assert_array_equal(ours.index, theirs.index)
        np.testing.assert_array_equal(ours.shift, theirs.shift)
        np.testing.assert_allclose(ours.distances, theirs.distances, rtol=0, atol=1e-13)
        assert ours.num_atoms == len(atoms)
    backends = [pairs.backend for pairs in found]
    assert {*backends} == {"small_systems", "vesin", "none"}
    assert backends.count("vesin") == 2  # a slab, and a needle


def test_pairs_at_the_cutoff_are_excluded():
    pair = Atoms("H2", [(0, 0, 0), (0, 0, 2.0)])

    at, above = (neighbor_lists([pair], cutoff)[0] for cutoff in (2.0, 2.0 + 1e-12))

    assert at.index.shape == (2, 0)
    assert above.index.tolist() == [[1, 0], [0, 1]]


def test_the_graph_is_that_of_collated_ones(structures):
    batch = build_batch(structures, 2.9, dtype=torch.float32)
    expected = collate(
        [
            build_graph(atoms, 2.9, dtype=torch.float32, neighbors=pairs)
            for atoms, pairs in zip(
                structures, neighbor_lists(structures, 2.9), strict=True
            )
        ]
    )

    assert batch.num_graphs == len(structures)
    assert batch.pairs.of_edge.tolist() == check_edges(batch).of_edge.tolist()
    for whole, part in ((batch, expected), (batch.pairs, expected.pairs)):
        for name, value in vars(part).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(getattr(whole, name), value), name


def test_opposite_edges_are_known_and_equally_long(structures):
    for pairs in neighbor_lists(structures, 2.9):
        if (known := pairs.known_pairs) is not None:
            found = find_pairs(*map(torch.from_numpy, (pairs.index, pairs.shift)))
            for name in ("of_edge", "forward", "backward"):
                assert torch.equal(getattr(known, name), getattr(found, name))
            lengths = pairs.distances[np.array([known.forward, known.backward])]
            np.testing.assert_array_equal(*lengths)


def test_what_cannot_be_a_batch():
    with pytest.raises(ValueError, match="empty sequence of structures"):
        build_batch([], 3.0)
    with pytest.raises(ValueError, match="search again"):
        build_batch([Atoms("H")], 3.0, neighbors=neighbor_lists([Atoms("H2")], 3.0))
    lost = Atoms("H2", [(0, 0, 0), (0, 0, np.inf)])
    with pytest.raises(ValueError, match="structure 1: the position of atom 1"):
        neighbor_lists([Atoms("H"), lost], 3.0)
    with pytest.raises(ValueError, match="structure 8: the position of atom 1"):
        neighbor_lists([lost], 3.0, numbers=[8])
