"""All searches find the same edges, and those are the right ones."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from nasty_structures import NASTY, Structure, edges

from equipot.neighbors import BACKENDS, neighbor_list

FAST = ["auto", "cells"]


def plain_enumeration(positions, cell, pbc, cutoff, reach):
    """Edges from a cube of images that is large enough by inspection."""
    ranges = [range(-reach, reach + 1) if periodic else (0,) for periodic in pbc]
    found = set()
    for shift in itertools.product(*ranges):
        translation = np.array(shift) @ np.where(pbc[:, None], cell, 0.0)
        for i, j in itertools.product(range(len(positions)), repeat=2):
            distance = np.linalg.norm(positions[j] - positions[i] + translation)
            if distance < cutoff and (i != j or any(shift)):
                found.add((i, j, *shift))
    return found


@pytest.mark.parametrize("pbc", list(itertools.product([True, False], repeat=3)))
def test_brute_force_agrees_with_plain_enumeration(pbc):
    rng = np.random.default_rng(3)
    cell = np.array([[3.0, 0.4, -0.3], [1.1, 3.5, 0.7], [-0.7, 0.9, 4.2]])
    positions = 2 * rng.random((4, 3)) @ cell
    structure = Structure(positions, cell, np.array(pbc), 4.3)

    found = neighbor_list(*structure, backend="brute_force")

    assert edges(found, structure) == plain_enumeration(*structure, reach=6)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("name", NASTY)
def test_agrees_with_brute_force(name, backend):
    structure = NASTY[name]

    found = neighbor_list(*structure, backend=backend)
    reference = neighbor_list(*structure, backend="brute_force")

    assert edges(found, structure) == edges(reference, structure)


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_all_cases_of_the_suite_are_right(backend, oracle):
    def search(positions, cell, pbc, cutoff):
        periodic = np.asarray(pbc, dtype=bool)
        found = neighbor_list(positions, cell, periodic, float(cutoff), backend=backend)
        return found.index[1], found.index[0], found.shift

    report = oracle.run(search)

    if backend == "vesin":  # refuses what would crash it, and says so
        wrong = [
            name
            for name, [message] in report.problems.items()
            if not message.startswith("raised ValueError: vesin cannot search")
        ]
        assert not wrong, report.text()
    else:
        assert report.ok, report.text()
    assert report.total >= 487


@st.composite
def structures(draw):
    """Up to five atoms, in or out of a cell of any shape, periodic in any direction."""
    coordinates = st.floats(-12, 12, width=32)
    positions = draw(
        arrays(np.float64, (draw(st.integers(1, 5)), 3), elements=coordinates)
    )
    cell = draw(arrays(np.float64, (3, 3), elements=st.floats(-6, 6, width=32)))
    pbc = draw(arrays(np.bool_, 3))
    cutoff = draw(st.floats(0.5, 5.0))
    vectors = cell[pbc]
    assume(np.linalg.svd(vectors, compute_uv=False).min(initial=np.inf) > 0.4)
    return Structure(positions, cell, pbc, cutoff)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(structures())
def test_lists_are_sorted_symmetric_and_within_the_cutoff(structure):
    positions, cell, pbc, cutoff = structure
    found = neighbor_list(*structure)
    sender, receiver = found.index
    vectors = positions[sender] - positions[receiver] + found.shift @ cell
    forward = set(map(tuple, np.column_stack([receiver, sender, found.shift]).tolist()))
    back = set(map(tuple, np.column_stack([sender, receiver, -found.shift]).tolist()))

    assert (np.diff(receiver) >= 0).all()
    assert forward == back
    assert len(forward) == len(sender)
    assert (np.linalg.norm(vectors, axis=1) < cutoff + 1e-9).all()
    assert not found.shift[:, ~pbc].any()
    assert not ((sender == receiver) & (found.shift == 0).all(axis=1)).any()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(structures(), st.sampled_from(FAST))
def test_backends_agree_on_random_structures(structure, backend):
    found = neighbor_list(*structure, backend=backend)
    reference = neighbor_list(*structure, backend="brute_force")

    assert edges(found, structure) == edges(reference, structure)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(structures(), arrays(np.float64, 3, elements=st.floats(-9, 9, width=32)))
def test_translations_of_all_atoms_change_nothing(structure, translation):
    # Coordinates of few digits: the sums are exact, and so are distances at the cutoff.
    moved = structure._replace(positions=np.round(structure.positions + translation, 3))
    start = moved._replace(positions=moved.positions - np.round(translation, 3))

    assert edges(neighbor_list(*moved), moved) == edges(neighbor_list(*start), start)


@pytest.mark.parametrize("backend", FAST)
def test_atoms_may_be_moved_by_lattice_vectors(backend):
    start = NASTY["tilted"]
    jumps = np.random.default_rng(1).integers(-9, 10, size=start.positions.shape)
    moved = start._replace(positions=start.positions + jumps @ start.cell)

    before = edges(neighbor_list(*start, backend=backend), start)
    after = edges(neighbor_list(*moved, backend=backend), moved)

    assert after == {
        (i, j, *(np.array(shift) + jumps[i] - jumps[j]).tolist())
        for i, j, *shift in before
    }


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_pairs_at_the_cutoff_are_left_out(backend):
    lattice = (np.zeros((1, 3)), 2.0 * np.eye(3), True)

    at = neighbor_list(*lattice, 2.0, backend=backend)
    beyond = neighbor_list(*lattice, np.nextafter(2.0, 3), backend=backend)

    assert at.index.shape == (2, 0)
    assert beyond.index.shape == (2, 6)


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_input_is_not_modified(backend):
    structure = NASTY["outside"]
    copies = [np.copy(part) for part in structure]

    neighbor_list(*structure, backend=backend)

    for part, copy in zip(structure, copies, strict=True):
        np.testing.assert_array_equal(part, copy)
