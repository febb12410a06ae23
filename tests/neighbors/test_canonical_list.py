import numpy as np
import pytest
import torch

from equipot.graph.atomic_graph import check_edges, edge_vectors
from equipot.neighbors import CanonicalList, GraphReuse, build_graph, neighbor_list

CPU = torch.device("cpu")


def test_edges_do_not_depend_on_when_the_list_was_built(silica):
    rng = np.random.default_rng(1)
    early = CanonicalList(4.0, skin=1.5)
    early(silica)

    silica.positions += rng.normal(0, 0.1, silica.positions.shape)
    late = CanonicalList(4.0, skin=1.5)
    fresh = CanonicalList(4.0, skin=0.0)
    first, second, third = early(silica), late(silica), fresh(silica)

    assert early._verlet.rebuilds == 1
    for name in ("index", "shift", "distances"):
        expected = getattr(third, name)
        np.testing.assert_array_equal(getattr(first, name), expected, strict=True)
        np.testing.assert_array_equal(getattr(second, name), expected, strict=True)
    assert third.distances.max() < 4.0
    assert (np.diff(third.index[1]) >= 0).all()


def test_distances_are_those_of_the_edges_of_the_graph(silica):
    found = neighbor_list(silica.positions, silica.cell.array, silica.pbc, 4.0)
    graph = build_graph(silica, 4.0, neighbors=found)

    expected = edge_vectors(graph).norm(dim=1).numpy()
    np.testing.assert_allclose(found.distances, expected, rtol=1e-14)


def test_pairs_within_a_smaller_cutoff_are_those_of_its_search(silica):
    geometry = (silica.positions, silica.cell.array, silica.pbc)
    shorter = neighbor_list(*geometry, 4.0).canonical().within(2.5)

    expected = neighbor_list(*geometry, 2.5).canonical()
    np.testing.assert_array_equal(shorter.index, expected.index)
    np.testing.assert_array_equal(shorter.shift, expected.shift)
    assert shorter.cutoff == 2.5
    with pytest.raises(ValueError, match=r"complete within 2\.5 Å only"):
        shorter.within(3.0)


def _assert_same_graph(found, expected):
    for name in ("positions", "atomic_numbers", "cell", "pbc", "batch"):
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=0, atol=0
        )
    for name in ("edge_index", "edge_shift"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    checked = check_edges(expected)
    for name in ("of_edge", "forward", "backward"):
        assert torch.equal(getattr(found.pairs, name), getattr(checked, name)), name


def test_graphs_of_a_moving_structure_are_those_of_a_new_search(silica):
    """Pairs cross the cutoff, the cell changes, and the list is rebuilt."""
    rng = np.random.default_rng(2)
    kept, reuse = CanonicalList(4.0, skin=0.15), GraphReuse(4.0)
    numbers_of_edges = set()

    for step in range(30):
        silica.positions += rng.normal(0, 0.02, silica.positions.shape)
        if step % 7 == 6:
            silica.set_cell(silica.cell * 1.003, scale_atoms=True)
        found = reuse(silica, kept(silica), CPU)
        fresh = build_graph(silica, 4.0, neighbors=CanonicalList(4.0, skin=0.0)(silica))
        _assert_same_graph(found, fresh)
        numbers_of_edges.add(found.num_edges)

    assert len(numbers_of_edges) > 2
    assert 1 < kept._verlet.rebuilds < 20


def test_graphs_share_what_does_not_change(silica):
    kept, reuse = CanonicalList(4.0, skin=0.8), GraphReuse(4.0)
    first = reuse(silica, kept(silica), CPU)
    before = first.positions.clone()

    silica.positions += 1e-9
    second = reuse(silica, kept(silica), CPU)

    for name in ("edge_index", "edge_shift", "atomic_numbers", "pbc", "batch", "cell"):
        assert getattr(second, name) is getattr(first, name), name
    assert second.pairs is first.pairs
    assert torch.equal(first.positions, before)
    assert not torch.equal(second.positions, before)
    silica.numbers[0] = 6
    assert reuse(silica, kept(silica), CPU).atomic_numbers[0] == 6
    assert first.atomic_numbers[0] != 6
