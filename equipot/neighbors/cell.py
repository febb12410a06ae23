"""Reduce any neighbor search to one in a compact, fully periodic cell.

Input cells may be skewed, flat, or without vectors of non-periodic directions.
`prepare_box` returns three linearly independent, nearly orthogonal vectors, with enough
vacuum along non-periodic directions that no image is within the cutoff.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from equipot.neighbors.reduction import reduce_lattice

Vector = list[float]

MIN_RELATIVE_VOLUME = 1e-10
"""Volume over the product of lengths below which vectors are linearly dependent."""
MAX_SKEWNESS = 1.5
"""Product of lengths over volume up to which a cell is not reduced; fcc has 1.41."""
MAX_IMAGES = 1e7
"""Number of images of an atom within the cutoff above which the input is an error."""
VACUUM_FACTOR = 1.01
"""Vacuum along non-periodic directions in units of the cutoff."""


@dataclass(frozen=True)
class SearchBox:
    """Atoms in a cell that is periodic in all three directions."""

    positions: Float64[np.ndarray, "atoms 3"]
    """Cartesian coordinates in Å; atoms may be outside of the cell."""
    cell: Float64[np.ndarray, "3 3"]
    """Linearly independent lattice vectors as rows in Å."""
    inverse: Float64[np.ndarray, "3 3"]
    """Inverse of the cell: ``positions @ inverse`` are fractional coordinates."""
    thickness: list[float]
    """Distances between opposite faces of the cell in Å."""
    transform: Int64[np.ndarray, "3 3"] | None
    """Lattice vectors in terms of the input vectors; None if they are unchanged."""

    def original_shift(
        self, shift: Int64[np.ndarray, "edges 3"]
    ) -> Int64[np.ndarray, "edges 3"]:
        """Translations in terms of the input lattice vectors."""
        return shift if self.transform is None else shift @ self.transform


def prepare_box(
    positions: Float64[np.ndarray, "atoms 3"],
    cell: Float64[np.ndarray, "3 3"],
    periodic: list[bool],
    cutoff: float,
) -> SearchBox:
    """Compact, fully periodic cell with the same pairs within the cutoff.

    Args:
        positions: Coordinates of one or more atoms in Å.
        cell: Lattice vectors as rows in Å; rows of non-periodic directions are ignored.
        periodic: Periodicity along each lattice vector.
        cutoff: Search radius in Å.

    Returns:
        The same atoms in the new cell.

    Raises:
        ValueError: If periodic lattice vectors are linearly dependent, or so short that
            millions of images of an atom are within the cutoff.
    """
    rows = complete_rows(cell.tolist(), periodic)
    axes = [k for k in range(3) if periodic[k]]
    transform = None
    if _volume(rows) * MAX_SKEWNESS < math.prod(math.hypot(*rows[k]) for k in axes):
        transform = np.eye(3, dtype=np.int64)
        block = np.ix_(axes, axes)
        transform[block] = reduce_lattice(cell[axes])
        rows = complete_rows((transform @ np.array(rows)).tolist(), periodic)
    box = np.array(rows)
    for k in range(3):
        if not periodic[k]:
            height = positions @ box[k]
            box[k] *= height.max() - height.min() + VACUUM_FACTOR * cutoff
    inverse = np.linalg.inv(box)
    thickness = [1 / math.hypot(*dual) for dual in inverse.T.tolist()]
    _check_number_of_images([thickness[k] for k in axes], cutoff)
    return SearchBox(positions, box, inverse, thickness, transform)


def complete_rows(rows: list[Vector], periodic: list[bool]) -> list[Vector]:
    """Replace vectors of non-periodic directions by unit vectors normal to the others.

    Args:
        rows: Lattice vectors in Å.
        periodic: Periodicity along each; the others are ignored.

    Returns:
        Three linearly independent vectors.

    Raises:
        ValueError: If periodic vectors are linearly dependent.
    """
    check_independent_rows(rows, periodic)
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


def check_independent_rows(rows: list[Vector], periodic: list[bool]) -> None:
    """Check that periodic lattice vectors are linearly independent.

    Args:
        rows: Lattice vectors in Å.
        periodic: Periodicity along each; the others are ignored.

    Raises:
        ValueError: If one is zero, two are parallel, or three are coplanar.
    """
    axes = [k for k in range(3) if periodic[k]]
    length = [math.hypot(*row) for row in rows]
    for k in axes:
        if length[k] == 0:
            raise ValueError(
                f"direction {k} is periodic but lattice vector {k} is zero; "
                f"set the vector, or set pbc[{k}] to False"
            )
    if len(axes) == 2:
        first, second = axes
        volume = math.hypot(*_cross(rows[first], rows[second]))
    elif len(axes) == 3:
        volume = _volume(rows)
    else:
        return
    if volume <= MIN_RELATIVE_VOLUME * math.prod(length[k] for k in axes):
        names = ", ".join(f"{k} {rows[k]}" for k in axes)
        raise ValueError(
            "periodic lattice vectors are linearly dependent: "
            f"{names}; correct the cell, or set pbc to False in non-periodic directions"
        )


def _check_number_of_images(thickness: list[float], cutoff: float) -> None:
    images = math.prod(2 * cutoff / width + 1 for width in thickness)
    if images > MAX_IMAGES:
        raise ValueError(
            f"a cutoff of {cutoff} Å includes {images:.0e} periodic images of an atom, "
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
