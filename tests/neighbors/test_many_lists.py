"""Neighbor lists of many structures are those of single searches."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from equipot.graph.atomic_graph import collate
from equipot.neighbors import build_batch, build_graph, many, neighbor_lists
from equipot.neighbors.interface import neighbor_list


@pytest.fixture
def structures():
    """Molecules in the order of their sizes and in no order, among crystals."""
    made = [molecule(name) for name in ("C6H6", "H2", "CH3CH2OH")]
    made += [Atoms(), Atoms("H"), bulk("Si"), molecule("H2O"), bulk("Cu").repeat(2)]
    for seed, atoms in enumerate(made):
        atoms.rattle(0.1, seed=seed)
        atoms.positions += seed
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
        np.testing.assert_allclose(ours.distances, theirs.distances, rtol=1e-14)
        assert ours.num_atoms == len(atoms)
    assert {pairs.backend for pairs in found} == {"all_pairs", "vesin", "none"}


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

    for graph in (batch, expected):
        assert graph.num_graphs == len(structures)
    for whole, part in ((batch, expected), (batch.pairs, expected.pairs)):
        for name, value in vars(part).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(getattr(whole, name), value), name


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
