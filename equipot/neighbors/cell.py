"""Restates any search as a search in a compact cell that is periodic in all directions.

Cells arrive tilted, flat, or without the rows of directions that do not repeat. After
`prepare_box` there is one case only: three independent, nearly orthogonal vectors, with
enough vacuum along free axes that no image there is in reach.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from equipot.neighbors.reduction import reduce_lattice

Vector = list[float]

SMALLEST_VOLUME = 1e-10
"""Volume over product of lengths below which vectors count as dependent."""
COMPACT = 1.5
"""Product of lengths over volume up to which a cell is left as it is; fcc has 1.41."""
MOST_IMAGES = 1e7
"""Images of one atom in reach beyond which the cell or the cutoff must be a mistake."""
PADDING = 1.01
"""Vacuum along free axes in units of the cutoff."""


@dataclass(frozen=True)
class SearchBox:
    """Atoms in a cell that repeats in all three directions."""

    positions: Float64[np.ndarray, "atoms 3"]
    """Cartesian coordinates in Å; atoms may lie outside of the cell."""
    cell: Float64[np.ndarray, "3 3"]
    """Independent lattice vectors as rows in Å."""
    inverse: Float64[np.ndarray, "3 3"]
    """Inverse of the cell: ``positions @ inverse`` are fractional coordinates."""
    thickness: list[float]
    """Distances between opposite faces of the cell in Å."""
    transform: Int64[np.ndarray, "3 3"] | None
    """Lattice vectors in terms of the original ones; None if they are the same."""

    def original_shift(
        self, shift: Int64[np.ndarray, "edges 3"]
    ) -> Int64[np.ndarray, "edges 3"]:
        """Translations in terms of the lattice vectors that the user gave."""
        return shift if self.transform is None else shift @ self.transform


def prepare_box(
    positions: Float64[np.ndarray, "atoms 3"],
    cell: Float64[np.ndarray, "3 3"],
    periodic: list[bool],
    cutoff: float,
) -> SearchBox:
    """Compact, fully periodic cell in which a search finds the same pairs.

    Args:
        positions: At least one atom, in Å.
        cell: Lattice vectors as rows in Å; those of free directions are not read.
        periodic: Which of the three directions repeat.
        cutoff: Radius of the search in Å.

    Returns:
        The same atoms in the new cell.

    Raises:
        ValueError: If vectors of periodic directions are dependent, or so short that
            the cutoff holds millions of images of an atom.
    """
    rows = complete_rows(cell.tolist(), periodic)
    axes = [k for k in range(3) if periodic[k]]
    transform = None
    if _volume(rows) * COMPACT < math.prod(math.hypot(*rows[k]) for k in axes):
        transform = np.eye(3, dtype=np.int64)
        block = np.ix_(axes, axes)
        transform[block] = reduce_lattice(cell[axes])
        rows = complete_rows((transform @ np.array(rows)).tolist(), periodic)
    box = np.array(rows)
    for k in range(3):
        if not periodic[k]:
            height = positions @ box[k]
            box[k] *= height.max() - height.min() + PADDING * cutoff
    inverse = np.linalg.inv(box)
    thickness = [1 / math.hypot(*dual) for dual in inverse.T.tolist()]
    _refuse_countless_images([thickness[k] for k in axes], cutoff)
    return SearchBox(positions, box, inverse, thickness, transform)


def complete_rows(rows: list[Vector], periodic: list[bool]) -> list[Vector]:
    """Replace the rows of free directions by unit vectors normal to the periodic rows.

    Args:
        rows: Lattice vectors in Å.
        periodic: Which of them repeat; the others are not read.

    Returns:
        Three independent vectors.

    Raises:
        ValueError: If the periodic rows are linearly dependent.
    """
    refuse_dependent_rows(rows, periodic)
    free = [k for k in range(3) if not periodic[k]]
    if len(free) == 3:
        return [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    rows = [list(row) for row in rows]
    if len(free) == 2:
        along = rows[3 - sum(free)]
        least = min(range(3), key=lambda axis: abs(along[axis]))
        rows[free[0]] = _unit(
            _cross(along, [float(axis == least) for axis in range(3)])
        )
    for k in free[-1:]:
        rows[k] = _unit(_cross(rows[(k + 1) % 3], rows[(k + 2) % 3]))
    return rows


def refuse_dependent_rows(rows: list[Vector], periodic: list[bool]) -> None:
    """Check that the lattice vectors of periodic directions span a volume.

    Args:
        rows: Lattice vectors in Å.
        periodic: Which of them repeat; the others are not read.

    Raises:
        ValueError: If one is zero, two are parallel, or three lie in a plane.
    """
    axes = [k for k in range(3) if periodic[k]]
    length = [math.hypot(*row) for row in rows]
    for k in axes:
        if length[k] == 0:
            raise ValueError(
                f"direction {k} is periodic but lattice vector {k} is zero; "
                f"give the vector, or set pbc[{k}] to False"
            )
    if len(axes) == 2:
        first, second = axes
        volume = math.hypot(*_cross(rows[first], rows[second]))
    elif len(axes) == 3:
        volume = _volume(rows)
    else:
        return
    if volume <= SMALLEST_VOLUME * math.prod(length[k] for k in axes):
        names = ", ".join(f"{k} {rows[k]}" for k in axes)
        raise ValueError(
            "the lattice vectors of periodic directions are linearly dependent: "
            f"{names}; correct the cell, or set pbc to False where nothing repeats"
        )


def _refuse_countless_images(thickness: list[float], cutoff: float) -> None:
    images = math.prod(2 * cutoff / width + 1 for width in thickness)
    if images > MOST_IMAGES:
        raise ValueError(
            f"a cutoff of {cutoff} Å reaches {images:.0e} periodic images of an atom, "
            f"as the cell is {min(thickness):.1e} Å thick; check the units of the cell"
        )


def _cross(a: Vector, b: Vector) -> Vector:
    return [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]


def _unit(a: Vector) -> Vector:
    length = math.hypot(*a)
    return [x / length for x in a]


def _volume(rows: list[Vector]) -> float:
    normal = _cross(rows[0], rows[1])
    return abs(sum(x * y for x, y in zip(normal, rows[2], strict=True)))
