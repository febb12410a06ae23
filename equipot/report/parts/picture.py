"""A structure as a small drawing: balls and sticks, seen from its broad side."""

from typing import Any, Final

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from jaxtyping import Bool, Float, Int
from markupsafe import Markup

from equipot.report.parts.page import fill

MOST_ATOMS: Final = 300
"""Of a larger structure, only so many atoms around the marked one are drawn."""
BALL_RADIUS: Final = 0.55
"""Radius of a ball in covalent radii."""
BOND_REACH: Final = 1.2
"""Atoms are bonded up to this multiple of the sum of their covalent radii."""
SHADES: Final = (("0", 0.75), ("0.45", 0.0), ("1", -0.4))
"""Places along the gradient of a ball, and how much lighter or darker it is there."""

_CORNERS: Final = np.array([[i >> 2, i >> 1 & 1, i & 1] for i in range(8)], dtype=float)
_EDGES: Final = [(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit]


def picture(
    name: str,
    atomic_numbers: Int[np.ndarray, " atoms"],
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, " 3"],
    *,
    marked: int | None = None,
    caption: str = "",
) -> Markup:
    """Draw a structure as an ``<svg>`` element that scales with its container.

    Args:
        name: Unique in the page; prefixes identifiers.
        atomic_numbers: Nuclear charges.
        positions: Coordinates in Å.
        cell: Lattice vectors as rows in Å; drawn where all directions are periodic.
        pbc: Which directions repeat.
        marked: Atom to draw a ring around.
        caption: Text for those who cannot see the picture.
    """
    if len(positions) > MOST_ATOMS:
        center = positions[marked or 0]
        near = np.argsort(np.linalg.norm(positions - center, axis=1), kind="stable")
        near = np.sort(near[:MOST_ATOMS])
        marked = None if marked is None else int(np.searchsorted(near, marked))
        atomic_numbers, positions = atomic_numbers[near], positions[near]
    on_page = view(positions, pbc).T * [1, -1, 1]  # in SVG, y points down
    corners = _CORNERS @ cell @ on_page if pbc.all() else np.zeros((0, 3))
    points, radii = positions @ on_page, BALL_RADIUS * covalent_radii[atomic_numbers]
    symbols = [chemical_symbols[z] for z in atomic_numbers]
    return fill(
        "picture.svg.jinja",
        name=name,
        caption=caption,
        box=_view_box(points, radii, corners),
        gradients={chemical_symbols[z]: shades(z) for z in np.unique(atomic_numbers)},
        edges=[(corners[i], corners[j]) for i, j in _EDGES] if len(corners) else [],
        shapes=_balls_and_sticks(symbols, points, radii),
        ring=None if marked is None else (points[marked], radii[marked] + 0.3),
    )


def view(
    positions: Float[np.ndarray, "atoms 3"], pbc: Bool[np.ndarray, " 3"]
) -> Float[np.ndarray, "3 3"]:
    """Rows are right, up and towards the viewer."""
    if pbc.any() or len(positions) < 2:
        a, b = np.deg2rad([-12.0, 18.0])
        tilt = [[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]]
        turn = [[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]]
        return np.array(tilt) @ np.array(turn)
    axes = np.linalg.svd(positions - positions.mean(axis=0))[2]
    axes[2] = np.cross(axes[0], axes[1])
    return axes


def shades(number: int | np.integer) -> list[tuple[str, str]]:
    """Places and colors of the gradient that makes a disk look like a ball."""
    color = jmol_colors[number]
    mixed = (
        (place, color + s * (1 - color) if s > 0 else (1 + s) * color)
        for place, s in SHADES
    )
    return [
        (place, "#" + "".join(f"{round(255 * c):02x}" for c in rgb))
        for place, rgb in mixed
    ]


def _balls_and_sticks(
    symbols: list[str],
    points: Float[np.ndarray, "atoms 3"],
    radii: Float[np.ndarray, " atoms"],
) -> list[dict[str, Any]]:
    """Atoms and bonds from back to front."""
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    reach = BOND_REACH / BALL_RADIUS * (radii[:, None] + radii[None])
    sticks = [
        {"depth": min(points[i][2], points[j][2]), "ends": (points[i], points[j])}
        for i, j in np.argwhere(np.triu(distance < reach, k=1))
    ]
    balls = [
        {"depth": point[2], "at": point, "radius": r, "symbol": symbol, "index": n}
        for n, (point, r, symbol) in enumerate(zip(points, radii, symbols, strict=True))
    ]
    return sorted(sticks + balls, key=lambda shape: shape["depth"])


def _view_box(
    points: Float[np.ndarray, "atoms 3"],
    radii: Float[np.ndarray, " atoms"],
    corners: Float[np.ndarray, "corners 3"],
) -> str:
    """A box around everything, at least as large as a small molecule."""
    flat = np.concatenate([points, corners])[:, :2]
    if len(flat) == 0:
        return "-1 -1 2 2"
    pad = 0.5 + (radii.max() if len(radii) else 0.0)
    low, high = flat.min(axis=0) - pad, flat.max(axis=0) + pad
    size = np.maximum(high - low, [4.0, 2.0])
    return " ".join(f"{x:.2f}" for x in (*((low + high - size) / 2), *size))
