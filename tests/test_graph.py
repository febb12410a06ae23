"""Graphs join into batches, move between types, and come from PyG unchanged."""

from dataclasses import replace

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from equipot.graph import AtomicGraph, collate, edge_vectors, from_pyg
from equipot.neighbors import build_graph

torch_geometric_data = pytest.importorskip("torch_geometric.data")

CUTOFF = 4.0


def parts() -> list[AtomicGraph]:
    """A molecule, nothing, a crystal with self images, an atom without edges."""
    structures = [molecule("H2O"), Atoms(), bulk("NaCl", "rocksalt", a=5.6), Atoms("H")]
    return [build_graph(atoms, CUTOFF) for atoms in structures]


def pyg_of(graph: AtomicGraph) -> "torch_geometric_data.Data":
    return torch_geometric_data.Data(
        pos=graph.positions,
        z=graph.atomic_numbers,
        edge_index=graph.edge_index,
        cell=graph.cell,
        pbc=graph.pbc,
        edge_shift=graph.edge_shift,
    )


def assert_same(left: AtomicGraph, right: AtomicGraph) -> None:
    for name in AtomicGraph.__dataclass_fields__:
        torch.testing.assert_close(getattr(left, name), getattr(right, name), msg=name)


def test_edge_vectors_point_from_receivers_to_images_of_senders():
    cell = torch.tensor([[[3.0, 0, 0], [1, 4, 0], [0, 2, 5]]], dtype=torch.float64)
    graph = AtomicGraph(
        positions=torch.tensor([[0.0, 0, 0], [1, 2, 3]], dtype=torch.float64),
        atomic_numbers=torch.tensor([1, 8]),
        cell=cell,
        pbc=torch.ones(1, 3, dtype=torch.bool),
        batch=torch.zeros(2, dtype=torch.long),
        edge_index=torch.tensor([[1], [0]]),
        edge_shift=torch.tensor([[1, -1, 2]]),
        cutoff=20.0,
    )

    vector = edge_vectors(graph)

    assert vector.tolist() == [[1.0 + 3 - 1, 2.0 - 4 + 2 * 2, 3.0 + 2 * 5]]


def test_edge_vectors_are_differentiable_in_positions_and_cell():
    graph = build_graph(bulk("NaCl", "rocksalt", a=5.6), CUTOFF)
    graph.positions.requires_grad_()
    graph.cell.requires_grad_()

    edge_vectors(graph).sum().backward()

    # Every edge has its reverse, with the opposite translation.
    assert graph.positions.grad.abs().max() < 1e-12
    weights = graph.edge_shift.sum(dim=0, dtype=torch.float64)
    torch.testing.assert_close(graph.cell.grad[0], weights[:, None].expand(3, 3))


def test_batch_has_the_edge_vectors_of_its_parts():
    graphs = parts()

    batch = collate(graphs)

    assert batch.num_graphs == 4
    assert batch.num_atoms == sum(g.num_atoms for g in graphs)
    assert batch.num_edges == sum(g.num_edges for g in graphs)
    expected = torch.cat([edge_vectors(g) for g in graphs])
    torch.testing.assert_close(edge_vectors(batch), expected)


def test_batch_keeps_structures_apart_and_in_order():
    batch = collate(parts())

    assert batch.batch.tolist() == [0, 0, 0, 2, 2, 3]
    senders, receivers = batch.edge_index
    assert torch.equal(batch.batch[senders], batch.batch[receivers])
    assert (receivers.diff() >= 0).all()


def test_batches_of_batches_are_batches():
    graphs = parts()

    nested = collate([collate(graphs[:2]), collate(graphs[2:])])

    assert_same(nested, collate(graphs))


def test_graphs_of_different_cutoffs_do_not_mix():
    water = molecule("H2O")

    with pytest.raises(ValueError, match=r"must have one cutoff, got \[3\.0, 4\.0\]"):
        collate([build_graph(water, 4.0), build_graph(water, 3.0)])


def test_nothing_cannot_be_collated():
    with pytest.raises(ValueError, match="cannot collate an empty sequence"):
        collate([])


def test_conversion_touches_floating_point_fields_only():
    graph = collate(parts())

    single = graph.to(dtype=torch.float32)

    assert single.positions.dtype == single.cell.dtype == torch.float32
    assert_same(single.to("cpu", torch.float64), _rounded(graph))
    for name in ("atomic_numbers", "pbc", "batch", "edge_index", "edge_shift"):
        assert torch.equal(getattr(single, name), getattr(graph, name))


def _rounded(graph: AtomicGraph) -> AtomicGraph:
    return replace(
        graph,
        positions=graph.positions.float().double(),
        cell=graph.cell.float().double(),
    )


def test_pyg_graphs_are_read_unchanged():
    for graph in parts():
        assert_same(from_pyg(pyg_of(graph), CUTOFF), graph)


def test_pyg_batches_are_read_unchanged():
    graphs = [graph for graph in parts() if graph.num_atoms]

    batch = torch_geometric_data.Batch.from_data_list([pyg_of(g) for g in graphs])

    assert_same(from_pyg(batch, CUTOFF), collate(graphs))


def test_pyg_edges_are_sorted_by_receiver_with_their_shifts():
    graph = parts()[2]
    data = pyg_of(graph)
    shuffled = torch.randperm(
        graph.num_edges, generator=torch.Generator().manual_seed(0)
    )
    data.edge_index = data.edge_index[:, shuffled]
    data.edge_shift = data.edge_shift[shuffled]

    read = from_pyg(data, CUTOFF)

    assert (read.edge_index[1].diff() >= 0).all()

    def table(g: AtomicGraph) -> list[list[int]]:
        return sorted(torch.cat([g.edge_index.T, g.edge_shift], dim=1).tolist())

    assert table(read) == table(graph)


def test_pyg_molecules_need_no_cell():
    graph = parts()[0]
    data = torch_geometric_data.Data(
        pos=graph.positions, z=graph.atomic_numbers, edge_index=graph.edge_index
    )

    assert_same(from_pyg(data, CUTOFF), graph)


@pytest.mark.parametrize("name", ["pos", "z", "edge_index"])
def test_missing_pyg_fields_are_named(name):
    data = pyg_of(parts()[0])
    del data[name]

    with pytest.raises(
        ValueError, match=f"needs pos, z and edge_index; {name} missing"
    ):
        from_pyg(data, CUTOFF)


@pytest.mark.parametrize("name", ["cell", "edge_shift"])
def test_periodic_pyg_graphs_need_cell_and_shifts(name):
    data = pyg_of(parts()[2])
    del data[name]

    with pytest.raises(
        ValueError, match="periodic PyG graph needs cell and edge_shift"
    ):
        from_pyg(data, CUTOFF)
