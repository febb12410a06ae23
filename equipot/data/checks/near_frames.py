"""Near frames: frames with the same atoms in almost the same positions."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from equipot.data.checks.facts import Facts

NUM_NEIGHBORS = 3
"""Number of neighbors of each frame."""
MAX_DISTANCES = 3000
"""Maximum number of distances for the comparison of molecules."""
STRAIN_LENGTH = 3.0
"""Length in Å by which a strain is multiplied to compare it with a displacement."""


@dataclass(frozen=True)
class Step:
    """Step between two frames with the same atoms in the same order."""

    start: int
    """Index of the first frame."""
    end: int
    """Index of the second frame."""
    displacement: Float[ndarray, "atoms 3"]
    """Displacements in Å without cell deformation, translation and rotation."""
    strain: Float[ndarray, "3 3"]
    """Symmetric strain of the cell."""
    rotation: Float[ndarray, "3 3"]
    """Rotation of vectors (rows) of the second frame to the first."""

    @property
    def size(self) -> float:
        """Root mean square displacement in Å, including the strain."""
        moved = float((self.displacement**2).sum(axis=1).mean())
        return float(np.sqrt(moved + (STRAIN_LENGTH * np.abs(self.strain).max()) ** 2))


def group_frames(facts: Sequence[Facts]) -> list[list[int]]:
    """Indices of frames, by group of two or more with the same atoms in one order."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for n, f in enumerate(facts):
        periodic = f.structure.atoms.pbc.astype(int).tolist()
        groups[*periodic, *f.numbers.tolist()].append(n)
    return [g for g in groups.values() if len(g) > 1]


def near_steps(facts: Sequence[Facts]) -> Iterator[Step]:
    """Steps from each frame to its nearest frames.

    Args:
        facts: Frames to compare; frames with one or two periodic directions are
            skipped.

    Yields:
        Each step once.
    """
    for group in group_frames(facts):
        periodic = facts[group[0]].structure.atoms.pbc
        if periodic.any() and not periodic.all():
            continue
        for a, b in _nearest([facts[n] for n in group]):
            first, second = facts[group[a]], facts[group[b]]
            step = _in_cells if periodic.all() else _in_space
            yield step(first, second, group[a], group[b])


def _nearest(facts: Sequence[Facts]) -> list[tuple[int, int]]:
    """Nearest pairs of frames, each once, by interatomic distances or displacements."""
    atoms = facts[0].structure.atoms
    if atoms.pbc.all():
        steps = [_in_cells(facts[0], f, 0, n) for n, f in enumerate(facts)]
        scale = STRAIN_LENGTH * len(atoms) ** 0.5
        rows = [np.append(s.displacement, s.strain * scale) for s in steps]
    else:
        i, j = np.triu_indices(len(atoms), 1)
        every = max(1, len(i) // MAX_DISTANCES)
        i, j = i[::every], j[::every]
        places = [f.structure.atoms.positions for f in facts]
        rows = [np.linalg.norm(p[i] - p[j], axis=1) for p in places]
    x = np.array(rows)
    square = (x**2).sum(axis=1)
    distance = square[:, None] + square[None] - 2 * x @ x.T
    np.fill_diagonal(distance, np.inf)
    partners = np.argsort(distance, axis=1, kind="stable")[
        :, : min(NUM_NEIGHBORS, len(x) - 1)
    ]
    return sorted(
        {(min(n, m), max(n, m)) for n, row in enumerate(partners.tolist()) for m in row}
    )


def _in_cells(a: Facts, b: Facts, start: int, end: int) -> Step:
    first, second = a.structure.atoms, b.structure.atoms
    cells = first.cell.array, second.cell.array
    moved = second.positions @ np.linalg.inv(cells[1])
    moved -= first.positions @ np.linalg.inv(cells[0])
    for origin in (moved[0].copy(), None):
        moved -= moved.mean(axis=0) if origin is None else origin
        moved -= np.round(moved)
    moved -= moved.mean(axis=0)
    change = np.linalg.inv(cells[0]) @ cells[1]
    return Step(
        start,
        end,
        moved @ ((cells[0] + cells[1]) / 2),
        (change + change.T) / 2 - np.eye(3),
        np.eye(3),
    )


def _in_space(a: Facts, b: Facts, start: int, end: int) -> Step:
    """Best superposition (Kabsch, Acta Cryst. A 32, 922 (1976))."""
    x, y = a.structure.atoms.positions, b.structure.atoms.positions
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    left, _, right = np.linalg.svd(y.T @ x)
    proper = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ proper @ right
    return Step(start, end, y @ rotation - x, np.zeros((3, 3)), rotation)
