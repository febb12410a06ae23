"""Edges and their reverses share what depends on their length alone."""

from dataclasses import replace

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from potentials import random_potential

from equipot.graph.atomic_graph import collate, edge_vectors, partial_graph
from equipot.graph.edge_pairs import find_pairs, join_pairs, single_edges
from equipot.neighbors import build_graph

STRUCTURES = {
    "molecule": molecule("CH3CH2OH"),
    # every edge of the cell of one atom leads from the atom to an image of itself
    "one_atom_cell": bulk("Cu"),
    "tilted_cell": bulk("Si"),
    "slab": Atoms(
        "Si2", [[0, 0, 0], [0.3, 1.1, 2.0]], cell=[2.1, 2.7, 9], pbc=[1, 1, 0]
    ),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_edge_is_paired_with_the_one_that_leads_back(name):
    graph = build_graph(STRUCTURES[name], 4.0)

    pairs = graph.pairs

    assert 2 * len(pairs.forward) == graph.num_edges
    there, back = pairs.forward, pairs.backward
    assert torch.equal(graph.edge_index[:, there], graph.edge_index[:, back].flip(0))
    assert torch.equal(graph.edge_shift[there], -graph.edge_shift[back])
    every = torch.cat([there, back]).sort().values
    assert torch.equal(every, torch.arange(graph.num_edges))
    number = torch.arange(len(there))
    assert torch.equal(pairs.of_edge[there], number)
    assert torch.equal(pairs.of_edge[back], number)
    lengths = edge_vectors(graph).norm(dim=1)
    torch.testing.assert_close(lengths[there], lengths[back], rtol=0, atol=1e-14)


FAULTY_EDGES = {
    "edges without a reverse: 3": ([[0, 1, 2], [1, 2, 0]], [[0, 0, 0]] * 3),
    "edges without a reverse: 1": ([[0, 1, 2], [1, 0, 0]], [[0, 0, 0]] * 3),
    "edges without a reverse: 2": ([[0, 1], [1, 0]], [[0, 0, 1]] * 2),
    "duplicate edges: 2": ([[0, 1, 0, 1], [1, 0, 1, 0]], [[0, 0, 0]] * 4),
    "self-loops: 1": ([[0, 1, 0], [1, 0, 0]], [[0, 0, 0]] * 3),
    "edges without a reverse: 1, such as atom 4": (
        [[0, 2**32, 4], [2**32, 0, 1]],
        [[0, 0, 0]] * 3,
    ),
}


@pytest.mark.parametrize("message", FAULTY_EDGES)
def test_edges_that_are_no_graph_are_refused(message):
    edge_index, shift = map(torch.tensor, FAULTY_EDGES[message])

    with pytest.raises(ValueError, match=message):
        find_pairs(edge_index, shift)


def test_numbers_of_edges_do_not_overflow():
    small = torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0]])
    far = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 0, 2**40], [0, 0, -(2**40)]])

    pairs = find_pairs(small, far)

    assert pairs.forward.tolist() == [0, 2]
    assert pairs.backward.tolist() == [1, 3]


def test_single_edges_expand_to_themselves():
    pairs = single_edges(3)
    values = torch.randn(3, 2)

    assert pairs.alone
    assert pairs.expand(values) is values
    assert find_pairs(
        torch.zeros(2, 0, dtype=torch.long), torch.zeros(0, 3, dtype=torch.long)
    ).alone


def test_shifts_tell_parallel_edges_apart():
    edge_index = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]])
    shift = torch.tensor([[1, 0, 0], [0, 0, -2], [0, 0, 2], [-1, 0, 0]])

    pairs = find_pairs(edge_index, shift)

    assert pairs.forward.tolist() == [0, 1]
    assert pairs.backward.tolist() == [3, 2]


def test_pairs_of_a_batch_are_those_of_its_structures():
    graphs = [build_graph(atoms, 4.0) for atoms in STRUCTURES.values()]
    graphs.insert(1, build_graph(Atoms("H"), 4.0))

    batch = collate(graphs)

    found = find_pairs(batch.edge_index, batch.edge_shift)
    for joined in (batch.pairs, batch.to("cpu").pairs):
        assert torch.equal(joined.of_edge, found.of_edge)
        assert torch.equal(joined.forward, found.forward)
        assert torch.equal(joined.backward, found.backward)


def test_one_structure_without_reverses_leaves_all_edges_alone():
    paired = build_graph(molecule("H2O"), 4.0).pairs

    assert join_pairs([paired, single_edges(3)]).alone


def test_expansion_is_linear_to_every_order():
    pairs = build_graph(molecule("H2O"), 4.0).pairs
    values = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)

    assert torch.equal(pairs.expand(values), values[pairs.of_edge])
    torch.autograd.gradcheck(pairs.expand, values)
    torch.autograd.gradgradcheck(pairs.expand, values)


@pytest.mark.parametrize("name", ["molecule", "tilted_cell"])
def test_a_potential_predicts_the_same_with_and_without_pairs(name):
    graph = build_graph(STRUCTURES[name], 4.0)
    potential = random_potential((1, 6, 8, 14))

    shared, alone = potential(graph), potential(partial_graph(replace(graph)))

    torch.testing.assert_close(shared.energy, alone.energy, rtol=1e-13, atol=0)
    torch.testing.assert_close(shared.forces, alone.forces, rtol=1e-11, atol=1e-12)
