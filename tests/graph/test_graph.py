"""Graphs join into batches, move between types, and come from PyG unchanged."""

from dataclasses import fields, replace

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from potentials import random_potential

from equipot.graph.atomic_graph import AtomicGraph, check_edges, collate, edge_vectors
from equipot.neighbors import (
    IncompleteGraphError,
    build_graph,
    check_complete,
    from_pyg,
    to_pyg,
)

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

    with pytest.raises(
        ValueError, match=r"must have equal cutoffs, got \[3\.0, 4\.0\]"
    ):
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


def _without_last_edge(data):
    data.edge_index, data.edge_shift = data.edge_index[:, :-1], data.edge_shift[:-1]


def _one_direction(data):
    kept = data.edge_index[0] < data.edge_index[1]
    data.edge_index, data.edge_shift = data.edge_index[:, kept], data.edge_shift[kept]


def _twice(data):
    data.edge_index = data.edge_index.repeat(1, 2)
    data.edge_shift = data.edge_shift.repeat(2, 1)


def _self_loop(data):
    data.edge_index = torch.cat([data.edge_index, torch.zeros(2, 1).long()], dim=1)
    data.edge_shift = torch.cat([data.edge_shift, torch.zeros(1, 3).long()])


def _unknown_atom(data):
    data.edge_index = data.edge_index + 1


def _open_direction(data):
    data.pbc = torch.tensor([[True, True, False]])


def _in_angstrom(data):
    data.edge_shift = data.edge_shift.double() @ data.cell[0]


def _without_pbc(data):
    data.pbc = None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_last_edge, "edges without a reverse: 1, such as atom 1 to atom"),
        (_one_direction, "edges without a reverse: 6"),
        (_twice, "duplicate edges"),
        (_self_loop, "self-loops: 1"),
        (_unknown_atom, "edges range from 1 to 2, expected 0 to 1"),
        (_open_direction, "translation along a non-periodic direction"),
        (_in_angstrom, "multiples of lattice vectors"),
        (_without_pbc, "needs pbc"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_pyg_edges_that_are_no_graph_are_refused(change, message, check):
    data = pyg_of(parts()[2])
    change(data)

    with pytest.raises(ValueError, match=message):
        from_pyg(data, CUTOFF, check=check)


def _few_neighbors(data):
    """Only the nearest ones, in both directions, as a search with a limit finds."""
    graph = from_pyg(data, CUTOFF)
    near = edge_vectors(graph).norm(dim=1) < 3.0
    data.edge_index, data.edge_shift = graph.edge_index[:, near], graph.edge_shift[near]


def _opposite_translations(data):
    data.edge_shift = -data.edge_shift


@pytest.mark.parametrize("change", [_few_neighbors, _opposite_translations])
def test_pyg_graphs_that_lack_pairs_within_the_cutoff_are_refused(change):
    graph = build_graph(bulk("NaCl", "rocksalt", a=5.6), CUTOFF)
    data = pyg_of(replace(graph, positions=graph.positions + 0.01 * graph.positions))
    change(data)

    with pytest.raises(
        IncompleteGraphError, match=r"within 4 Å, but \d+ edges are mis"
    ):
        from_pyg(data, CUTOFF)
    from_pyg(data, CUTOFF, check=False)


def test_one_incomplete_structure_of_a_batch_is_named():
    graphs = [graph for graph in parts() if graph.num_atoms]
    batch = torch_geometric_data.Batch.from_data_list([pyg_of(g) for g in graphs])

    with pytest.raises(IncompleteGraphError, match="of structure 1 are missing"):
        from_pyg(batch, CUTOFF + 1.0)


def test_graphs_in_float32_are_complete_up_to_rounding():
    atoms = bulk("Cu", a=3.6).repeat(2)
    atoms.positions += 100.0
    at_a_shell = 3.6 / 2**0.5  # all first neighbors are at the cutoff

    graph = build_graph(atoms, at_a_shell).to(dtype=torch.float32)

    assert_same(from_pyg(pyg_of(graph), at_a_shell), graph)


def test_edges_between_structures_and_unsorted_ones_are_refused():
    batch = collate([build_graph(molecule("H2O"), CUTOFF) for _ in range(2)])

    with pytest.raises(ValueError, match="connects atoms of two structures"):
        check_edges(
            replace(
                batch,
                edge_index=torch.tensor([[3, 0], [0, 3]]).long(),
                edge_shift=torch.zeros(2, 3).long(),
            )
        )
    with pytest.raises(ValueError, match="sorted by receiver"):
        check_edges(replace(batch, edge_index=batch.edge_index.flip(1)))
    with pytest.raises(ValueError, match="sorted by structure"):
        check_edges(replace(batch, batch=batch.batch.flip(0)))


def test_a_potential_refuses_a_graph_of_one_direction(random_water):
    graph, potential = random_water
    one_way = graph.edge_index[0] < graph.edge_index[1]
    half = replace(
        graph,
        edge_index=graph.edge_index[:, one_way],
        edge_shift=graph.edge_shift[one_way],
    )

    with pytest.raises(ValueError, match="edges without a reverse: 3"):
        potential(half)
    with pytest.raises(ValueError, match="edges without a reverse: 3"):
        collate([half, graph])


@pytest.fixture
def random_water():
    return build_graph(molecule("H2O"), CUTOFF), random_potential((1, 8))


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


def test_pyg_fields_of_other_kinds_are_read_if_they_mean_the_same():
    graph = parts()[2]
    data = pyg_of(graph)
    data.edge_index = data.edge_index.int()
    data.z = data.z.double()
    data.pbc, data.cell = graph.pbc[0].tolist(), graph.cell[0].numpy()

    assert_same(from_pyg(data, CUTOFF), graph)


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("z", lambda z: z + 0.5, "z must contain integers"),
        ("z", lambda z: z[:-1], r"z must have shape \("),
        ("z", lambda z: z[:, None], r"z must have shape \("),
        ("edge_index", lambda index: index.T, r"edge_index must have shape \(2, edges"),
        ("edge_shift", lambda shift: shift[:-1], r"edge_shift must have shape \("),
        ("pos", lambda positions: positions.long(), "pos must be real numbers"),
        ("pbc", lambda pbc: pbc[0, :2], r"pbc must have shape \("),
        ("cell", lambda cell: cell[0, 0], r"cell must have shape \("),
        ("batch", lambda _: torch.tensor([-1, *[0] * 100]), r"batch must have shape"),
    ],
)
def test_pyg_fields_of_other_shapes_are_refused(field, change, message):
    data = pyg_of(parts()[2])
    setattr(data, field, change(getattr(data, field, None)))

    with pytest.raises(ValueError, match=message):
        from_pyg(data, CUTOFF)


@pytest.mark.parametrize("name", ["shifts", "unit_shifts", "cell_offsets"])
def test_translations_of_edges_under_other_names_are_not_dropped(name):
    data = pyg_of(parts()[2])
    setattr(data, name, data.edge_shift)
    del data.edge_shift, data.cell, data.pbc

    with pytest.raises(ValueError, match="set edge_shift"):
        from_pyg(data, CUTOFF, check=False)


def test_atoms_of_a_structure_that_is_not_there_are_refused():
    graph = parts()[0]

    for step in (-1, 1):
        with pytest.raises(ValueError, match="number them from 0"):
            check_edges(replace(graph, batch=graph.batch + step))


def test_rounding_that_hides_all_pairs_is_an_error():
    graph = parts()[2].to(dtype=torch.float32)

    with pytest.raises(ValueError, match="use float64"):
        check_complete(replace(graph, positions=graph.positions + 1e7))


def test_a_graph_goes_to_pyg_and_back(silica, ethanol):
    graph = collate([build_graph(atoms, 4.0) for atoms in (silica, ethanol)])

    back = from_pyg(to_pyg(graph), 4.0)

    for field in fields(graph):
        value = getattr(graph, field.name)
        same = getattr(back, field.name)
        assert torch.equal(torch.as_tensor(same), torch.as_tensor(value)), field.name
