"""Graphs of ASE structures hold the right edges, also in batches."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from equipot.graph.atomic_graph import collate, edge_vectors
from equipot.neighbors import VerletList, build_graph, neighbor_list


def test_fcc_has_twelve_nearest_neighbors():
    graph = build_graph(bulk("Cu", a=3.6), 3.0)

    distances = edge_vectors(graph).norm(dim=1)
    assert graph.num_edges == 12
    torch.testing.assert_close(distances, torch.full((12,), 3.6 / 2**0.5).double())


def test_fields_describe_the_structure():
    atoms = molecule("H2O")

    graph = build_graph(atoms, 1.2, dtype=torch.float32)

    assert graph.atomic_numbers.tolist() == [8, 1, 1]
    assert graph.positions.dtype == graph.cell.dtype == torch.float32
    assert graph.batch.tolist() == [0, 0, 0]
    assert graph.cell.shape == (1, 3, 3)
    assert graph.pbc.tolist() == [[False] * 3]
    assert sorted(graph.edge_index.T.tolist()) == [[0, 1], [0, 2], [1, 0], [2, 0]]
    assert graph.edge_index[1].tolist() == [0, 0, 1, 2]
    assert not graph.edge_shift.any()
    assert graph.cutoff == 1.2


@pytest.mark.parametrize(
    "atoms", [Atoms(), Atoms("H"), Atoms("H2", [[0] * 3, [9] * 3])]
)
def test_structures_without_edges_are_legal(atoms):
    graph = build_graph(atoms, 5.0)

    assert graph.num_atoms == len(atoms)
    assert graph.edge_index.shape == (2, 0)
    assert edge_vectors(graph).shape == (0, 3)


def test_free_rows_of_the_cell_do_not_matter():
    slab = fcc111("Cu", (2, 2, 3), vacuum=None)
    graphs = []
    for row in ([0, 0, 0], [0, 0, 1e-3], [1, 1, 1e6], slab.cell[0]):
        slab.cell[2] = row
        graphs.append(build_graph(slab, 5.0))

    for graph in graphs[1:]:
        torch.testing.assert_close(graph.edge_index, graphs[0].edge_index)
        torch.testing.assert_close(graph.edge_shift, graphs[0].edge_shift)
        torch.testing.assert_close(edge_vectors(graph), edge_vectors(graphs[0]))


def test_graph_does_not_follow_later_changes_of_the_structure():
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    graph = build_graph(atoms, 4.0)
    positions, cell = graph.positions.clone(), graph.cell.clone()

    atoms.positions += 1
    atoms.cell *= 2
    atoms.numbers[:] = 1

    assert torch.equal(graph.positions, positions)
    assert torch.equal(graph.cell, cell)
    assert graph.atomic_numbers.tolist() == [11, 17]


def test_pairs_of_a_verlet_list_are_used():
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    verlet = VerletList(4.0, skin=0.8)

    graph = build_graph(
        atoms, 4.0, neighbors=verlet(atoms.positions, atoms.cell.array, atoms.pbc)
    )

    distances = edge_vectors(graph).norm(dim=1)
    assert (distances < 4.0).sum() == build_graph(atoms, 4.0).num_edges
    assert graph.num_edges == build_graph(atoms, 4.8).num_edges
    assert graph.cutoff == 4.0


def test_pairs_of_another_search_are_refused():
    atoms = bulk("Cu")
    found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 4.0)

    with pytest.raises(
        ValueError, match=r"complete within 4\.0 Å only, less than .* 5\.0"
    ):
        build_graph(atoms, 5.0, neighbors=found)
    with pytest.raises(ValueError, match="list has 1 atoms but the structure has 2"):
        build_graph(atoms * (2, 1, 1), 4.0, neighbors=found)


def test_batches_of_the_suite_are_right(oracle):
    def search(systems, cutoff):
        graph = collate(
            [
                build_graph(Atoms(positions=p, cell=c, pbc=b), cutoff)
                for p, c, b in systems
            ]
        )
        sender, receiver = graph.edge_index.numpy()
        return receiver, sender, graph.edge_shift.numpy(), graph.batch[receiver].numpy()

    assert oracle.check_batch(search) == []


def test_backends_give_the_same_graph():
    atoms = bulk("SiO2", "fluorite", a=4.9)

    graphs = [build_graph(atoms, 5.0, backend=name) for name in ("vesin", "cells")]

    lengths = [np.sort(edge_vectors(graph).norm(dim=1).numpy()) for graph in graphs]
    np.testing.assert_allclose(lengths[0], lengths[1], rtol=0, atol=1e-12)
