"""Structures that stand in for those that an old model does not carry."""

from dataclasses import replace

import numpy as np
import pytest

from equipot.data.pairs import pair_name
from equipot.neighbors import neighbor_list
from equipot.verify.structures import generate_structures
from tests.potentials import statistics_of

KNOWN = {"H-H": 1.5, "H-C": 1.0, "C-C": 1.3, "H-O": 0.9, "C-O": 1.1, "O-O": 2.0}


@pytest.mark.parametrize("seed", range(5))
def test_no_pair_is_closer_than_in_training(seed):
    statistics = replace(statistics_of((1, 6, 8), 4.0), minimum_distances=KNOWN)

    crystal, cluster = generate_structures(statistics, seed)

    for atoms in (crystal, cluster):
        found = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, 4.0)
        i, j = found.index
        vectors = atoms.positions[i] - atoms.positions[j]
        vectors += found.shift @ atoms.cell.array
        assert len(i) > len(atoms)
        for a, b, distance in zip(i, j, np.linalg.norm(vectors, axis=1), strict=True):
            pair = pair_name(int(atoms.numbers[a]), int(atoms.numbers[b]))
            assert distance > KNOWN[pair]


def test_all_elements_of_small_sets_are_there_and_sixteen_of_large_ones():
    few, _ = generate_structures(statistics_of((1, 8, 79), 4.0))
    many, _ = generate_structures(statistics_of(tuple(range(1, 90)), 4.0))

    assert set(few.numbers) == {1, 8, 79}
    assert len(few) == 8
    assert len(many) == 16


def test_structures_are_the_same_every_time():
    statistics = statistics_of((6, 14), 4.0)

    first, second = (generate_structures(statistics)[0] for _ in range(2))

    assert (first.positions == second.positions).all()
    assert (first.cell.array == second.cell.array).all()
