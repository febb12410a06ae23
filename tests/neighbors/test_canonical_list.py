import numpy as np
import pytest

from equipot.graph.atomic_graph import edge_vectors
from equipot.neighbors import CanonicalList, build_graph, neighbor_list


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
