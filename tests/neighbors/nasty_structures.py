"""Structures that break neighbor searches, and edges as sets."""

from typing import NamedTuple

import numpy as np

from equipot.neighbors import NeighborList


class Structure(NamedTuple):
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    cutoff: float


def _structure(positions, cell, pbc, cutoff) -> Structure:
    arrays = (
        np.array(positions, dtype=float).reshape(-1, 3),
        np.array(cell, dtype=float),
        np.array([letter == "T" for letter in pbc]),
    )
    for array in arrays:
        array.flags.writeable = False  # all tests share them
    return Structure(*arrays, cutoff)


def _nasty() -> dict[str, Structure]:
    rng = np.random.default_rng(5)
    none = np.zeros((3, 3))
    box = np.diag([5.1, 6.3, 7.7])
    tilted = np.array([[5.0, 0.4, -0.3], [2.1, 5.5, 0.7], [-1.7, 1.9, 6.2]])
    inside = rng.random((7, 3)) @ tilted
    jumps = rng.integers(-40, 41, size=(7, 3)) @ tilted
    cases = {
        "no-atoms": ([], tilted, "TTT", 4.0),
        "no-atoms-no-cell": ([], none, "FFF", 4.0),
        "one-atom-no-cell": ([[1, 2, 3]], none, "FFF", 4.0),
        "one-atom": ([[0.3, 0.2, 0.1]], 3 * np.eye(3), "TTT", 4.1),
        "one-atom-many-images": ([[9, 9, 9]], 1.3 * np.eye(3), "TTT", 6.1),
        "cutoff-above-cell": (inside, tilted, "TTT", 11.0),
        "tilted": (inside, tilted, "TTT", 4.0),
        "left-handed": (inside, tilted[[1, 0, 2]], "TTT", 4.0),
        "negative": (inside, -tilted, "TTT", 4.0),
        "sheared": (inside, [[4, 0, 0], [40, 4, 0], [-40, 40, 4]], "TTT", 4.9),
        "sharp-angle": (inside, [[6, 0, 0], [6, 0.1, 0], [0, 0, 9]], "TTT", 3.9),
        "flat": ([[1, 1, 1]], [[5, 0, 0], [0, 5, 0], [5, 5, 0.1]], "TTT", 4.0),
        "thin-plate": ([[1, 1, 1]], np.diag([9, 9, 0.01]), "TTT", 4.0),
        "needle": ([[1, 1, 1]], np.diag([1.1, 30, 30]), "TTT", 20.0),
        "outside": (inside + jumps, tilted, "TTT", 4.0),
        "far-away": (inside + 1e6, tilted, "TTT", 4.0),
        "cloud-around-cell": (9 * rng.normal(size=(15, 3)), box, "FTF", 5.0),
        "zero-row": (inside, np.diag([5.1, 6.3, 0]), "TTF", 4.0),
        "in-plane-row": (inside, [[5, 0, 0], [0, 6, 0], [5, 6, 0]], "TTF", 4.0),
        "leaning-out-of-plane": (inside, [[3, 0, 9], [0, 4, 0], [0, 0, 0]], "TTF", 4.0),
        "wire-parallel-rows": (inside, [[0, 0, 0], [1, 2, 3], [1, 2, 3]], "FTF", 4.0),
        "molecule-in-tiny-cell": (inside, 1e-3 * np.eye(3), "FFF", 4.0),
        "molecule-huge-cutoff": (inside, none, "FFF", 1e4),
        "molecule-tiny-cutoff": (inside, none, "FFF", 1e-4),
        "overlapping": (np.ones((4, 3)), box, "TTT", 5.5),
        "overlapping-no-cell": (np.ones((4, 3)), none, "FFF", 1.0),
        "images-of-each-other": ([[0, 0, 0], box[0], -box[2]], box, "TTT", 5.5),
        "on-the-border": (
            [[0, 0, 0], [-1e-17, 1, 1], [5.1, 6.3, 7.7]],
            box,
            "TTT",
            4.0,
        ),
        "vacuum": (inside, 1e5 * np.eye(3), "TTT", 4.0),
        "flat-vacuum": (inside, np.diag([1e5, 1e5, 7.0]), "TTT", 4.0),
        "two-far-molecules": ([[0, 0, 0], [0, 0, 1], [8e3, 9e3, 0]], none, "FFF", 4.0),
        "several-bins": (
            rng.random((150, 3)) @ (2.3 * tilted),
            2.3 * tilted,
            "TFT",
            3.0,
        ),
    }
    return {name: _structure(*case) for name, case in cases.items()}


NASTY = _nasty()
"""Structures on which some neighbor search in use is wrong, hangs or crashes."""


def edges(found: NeighborList, structure: Structure) -> set[tuple[int, ...]]:
    """Edges (i, j, S), without those at the cutoff to within rounding."""
    sender, receiver = found.index
    positions, cell = structure.positions, structure.cell
    vectors = positions[sender] - positions[receiver] + found.shift @ cell
    scale = max(1.0, structure.cutoff, np.abs(positions).max(initial=0.0))
    sure = np.linalg.norm(vectors, axis=1) < structure.cutoff - 1e-12 * scale
    table = np.column_stack([receiver, sender, found.shift])[sure].tolist()
    if len(table) != len(set(map(tuple, table))):
        raise AssertionError("an edge is listed twice")
    return set(map(tuple, table))
