"""Input that has no answer is refused, and the message names the culprit."""

import numpy as np
import pytest

from equipot.neighbors import BACKENDS, neighbor_list

POSITIONS = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [2.0, 1.0, 0.0]])
CELL = np.diag([5.0, 6.0, 7.0])


def with_entry(array, place, value):
    changed = array.copy()
    changed[place] = value
    return changed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e11])
def test_bad_position_names_its_atom(value):
    with pytest.raises(ValueError, match=r"position of atom 2 is .* finite and within"):
        neighbor_list(with_entry(POSITIONS, (2, 1), value), CELL, True, 4.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_cell_names_its_vector(value):
    with pytest.raises(ValueError, match=r"lattice vector 1 is .* must be finite"):
        neighbor_list(POSITIONS, with_entry(CELL, (1, 0), value), True, 4.0)


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
@pytest.mark.parametrize("positions", [POSITIONS, POSITIONS[:0]])
def test_zero_vector_of_periodic_direction_is_named(positions, backend):
    with pytest.raises(ValueError, match=r"vector 2 is zero; .* set pbc\[2\] to False"):
        neighbor_list(positions, np.diag([5.0, 6, 0]), True, 4.0, backend=backend)


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
@pytest.mark.parametrize(
    ("rows", "pbc", "names"),
    [
        ([[5, 0, 0], [10, 0, 0], [0, 0, 5]], "TTF", r"0 \[.*\], 1 \[.*\]; correct"),
        (
            [[5, 0, 0], [0, 5, 0], [5, 5, 0]],
            "TTT",
            r"0 \[.*\], 1 \[.*\], 2 \[.*\]; correct",
        ),
        (
            [[1, 2, 3], [0, 5, 0], [-0.1, -0.2, -0.3]],
            "TFT",
            r"0 \[.*\], 2 \[.*\]; correct",
        ),
    ],
)
def test_dependent_vectors_of_periodic_directions_are_named(rows, pbc, names, backend):
    periodic = [letter == "T" for letter in pbc]

    with pytest.raises(ValueError, match="linearly dependent: " + names):
        neighbor_list(POSITIONS, np.array(rows, float), periodic, 4.0, backend=backend)


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan, np.inf])
def test_cutoff_is_positive_and_finite(cutoff):
    with pytest.raises(ValueError, match="cutoff must be a positive finite length"):
        neighbor_list(POSITIONS, CELL, True, float(cutoff))


def test_cell_in_wrong_units_is_noticed():
    with pytest.raises(ValueError, match=r"images of an atom.* check the units"):
        neighbor_list(POSITIONS, 1e-3 * CELL, True, 5.0)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"positions must have shape \(atoms, 3\)"):
        neighbor_list(POSITIONS.T[:2].T, CELL, True, 4.0)
    with pytest.raises(ValueError, match=r"cell must have shape \(3, 3\)"):
        neighbor_list(POSITIONS, np.diag(CELL), True, 4.0)
    with pytest.raises(ValueError, match="pbc must be one boolean or three"):
        neighbor_list(POSITIONS, CELL, [True, False], 4.0)


def test_unknown_backend_is_refused_with_the_choice():
    with pytest.raises(ValueError, match="'kdtree'; use one of auto, vesin, cells"):
        neighbor_list(POSITIONS, CELL, True, 4.0, backend="kdtree")


def test_integers_and_lists_are_welcome():
    found = neighbor_list([[0, 0, 0], [1, 0, 0]], [[3, 0, 0]] * 3, [0, 0, 0], 2.0)

    assert found.index.tolist() == [[1, 0], [0, 1]]
    assert found.shift.tolist() == [[0, 0, 0], [0, 0, 0]]
