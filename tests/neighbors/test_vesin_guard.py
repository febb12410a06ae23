"""vesin is the default, and is kept away from the boxes that end its process."""

import numpy as np
import pytest
from nasty_structures import NASTY, edges

from equipot.neighbors import neighbor_list
from equipot.neighbors.cell import prepare_box
from equipot.neighbors.vesin_backend import vesin_is_unsafe

CRASHES = ["flat-vacuum", "two-far-molecules"]


@pytest.mark.parametrize("name", CRASHES)
def test_vesin_by_name_refuses_a_grid_that_would_crash_it(name):
    with pytest.raises(ValueError, match='would crash it; use backend="auto"'):
        neighbor_list(*NASTY[name], backend="vesin")


@pytest.mark.parametrize("name", CRASHES)
def test_auto_takes_our_own_search_there_and_says_so(name):
    structure = NASTY[name]

    found = neighbor_list(*structure)

    assert found.backend == "cells"
    reference = neighbor_list(*structure, backend="brute_force")
    assert edges(found, structure) == edges(reference, structure)


def test_auto_takes_vesin_elsewhere():
    used = {name: neighbor_list(*case).backend for name, case in NASTY.items()}

    others = {name for name, backend in used.items() if backend != "vesin"}
    nothing = {"no-atoms", "no-atoms-no-cell"}
    assert others == {*CRASHES, *nothing}
    assert {used[name] for name in nothing} == {"none"}


@pytest.mark.parametrize(
    ("positions", "side", "cutoff", "reason"),
    [
        ([[0, 0, 0]], 5.0, 1e-6, "it does not support cutoffs"),
        ([[0, 0, 0]], 1e-11, 1e-5, "it does not support cells"),
        ([[9e9, 0, 0]], 1.0, 2.0, "too many cells away"),
    ],
)
def test_limits_of_its_numbers_are_known(positions, side, cutoff, reason):
    structure = np.array(positions, dtype=float), side * np.eye(3)
    box = prepare_box(*structure, [True] * 3, cutoff if side > 1e-9 else 1e-12)

    assert reason in vesin_is_unsafe(box, cutoff)
