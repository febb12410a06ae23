import numpy as np

from equipot.neighbors import CanonicalList


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
