"""A structure as a small drawing: balls and sticks, seen from its broad side."""

from collections.abc import Iterator
from html import escape
from typing import Final

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from jaxtyping import Bool, Float, Int

MOST_ATOMS: Final = 300
"""Of a larger structure, only so many atoms around the marked one are drawn."""

_BALL: Final = 0.55
"""Radius of a ball in covalent radii."""

_BOND: Final = 1.2
"""Atoms are bonded up to this multiple of the sum of their covalent radii."""

_CORNERS: Final = np.array(
    [[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float
)


def picture(
    name: str,
    atomic_numbers: Int[np.ndarray, " atoms"],
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, " 3"],
    *,
    marked: int | None = None,
    caption: str = "",
) -> str:
    """Draw a structure as an ``<svg>`` element.

    Args:
        name: Unique in the page; prefixes identifiers.
        atomic_numbers: Nuclear charges.
        positions: Coordinates in Å.
        cell: Lattice vectors as rows in Å; drawn where all directions are periodic.
        pbc: Which directions repeat.
        marked: Atom to draw a ring around.
        caption: Text for those who cannot see the picture.

    Returns:
        The element; it scales with its container.
    """
    if len(positions) > MOST_ATOMS:
        center = positions[marked or 0]
        near = np.argsort(np.linalg.norm(positions - center, axis=1), kind="stable")
        near = np.sort(near[:MOST_ATOMS])
        marked = None if marked is None else int(np.searchsorted(near, marked))
        atomic_numbers, positions = atomic_numbers[near], positions[near]
    axes = view(positions, pbc)
    corners = _CORNERS @ cell @ axes.T if pbc.all() else np.zeros((0, 3))
    points = positions @ axes.T
    radii = _BALL * covalent_radii[atomic_numbers]
    elements = [
        *_cell_edges(corners),
        *_balls_and_sticks(name, atomic_numbers, points, radii),
    ]
    if marked is not None and len(points):
        x, y, _ = points[marked]
        ring = f'cx="{x:.2f}" cy="{-y:.2f}" r="{radii[marked] + 0.3:.2f}"'
        elements += [
            f'<circle class="halo" {ring}/>',
            f'<circle class="worst-atom" {ring}/>',
        ]
    shades = "".join(_shades(name, atomic_numbers))
    return (
        f'<svg class="structure" viewBox="{_view_box(points, radii, corners)}" '
        f'role="img" aria-label="{escape(caption)}">'
        f"<defs>{shades}</defs>{''.join(elements)}</svg>"
    )


def view(
    positions: Float[np.ndarray, "atoms 3"], pbc: Bool[np.ndarray, " 3"]
) -> Float[np.ndarray, "3 3"]:
    """Rows are right, up and towards the viewer."""
    if pbc.any() or len(positions) < 2:
        a, b = np.deg2rad([-12.0, 18.0])
        tilt = np.array(
            [[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]]
        )
        turn = np.array(
            [[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]]
        )
        return tilt @ turn
    axes = np.linalg.svd(positions - positions.mean(axis=0))[2]
    axes[2] = np.cross(axes[0], axes[1])
    return axes


def _balls_and_sticks(
    name: str,
    atomic_numbers: Int[np.ndarray, " atoms"],
    points: Float[np.ndarray, "atoms 3"],
    radii: Float[np.ndarray, " atoms"],
) -> Iterator[str]:
    """Atoms and bonds from back to front."""
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    reach = _BOND * (radii[:, None] + radii[None]) / _BALL
    drawn: list[tuple[float, str]] = []
    for i, j in np.argwhere(np.triu(distance < reach, k=1)).tolist():
        (x1, y1, z1), (x2, y2, z2) = points[i], points[j]
        line = f'x1="{x1:.2f}" y1="{-y1:.2f}" x2="{x2:.2f}" y2="{-y2:.2f}"'
        drawn.append((min(z1, z2), f'<line class="bond" {line}/>'))
    for n, ((x, y, z), r) in enumerate(zip(points, radii, strict=True)):
        symbol = chemical_symbols[atomic_numbers[n]]
        drawn.append(
            (
                z,
                f'<circle cx="{x:.2f}" cy="{-y:.2f}" r="{r:.2f}" '
                f'fill="url(#{name}-{symbol})"><title>{symbol} {n}</title></circle>',
            )
        )
    return (element for _, element in sorted(drawn, key=lambda item: item[0]))


def _shades(name: str, atomic_numbers: Int[np.ndarray, " atoms"]) -> Iterator[str]:
    """A gradient per element that makes a disk look like a ball."""
    for number in np.unique(atomic_numbers).tolist():
        color = jmol_colors[number]
        stops = (color + 0.75 * (1 - color), color, 0.6 * color)
        yield (
            f'<radialGradient id="{name}-{chemical_symbols[number]}" '
            'cx="0.35" cy="0.3" r="0.75">'
            + "".join(
                f'<stop offset="{offset}" stop-color="{hex_color(stop)}"/>'
                for offset, stop in zip((0, 0.45, 1), stops, strict=True)
            )
            + "</radialGradient>"
        )


def _cell_edges(corners: Float[np.ndarray, "corners 3"]) -> Iterator[str]:
    for i in range(len(corners)):
        for bit in (1, 2, 4):
            if not i & bit:
                (x1, y1, _), (x2, y2, _) = corners[i], corners[i | bit]
                line = f'x1="{x1:.2f}" y1="{-y1:.2f}" x2="{x2:.2f}" y2="{-y2:.2f}"'
                yield f'<line class="cell" {line}/>'


def _view_box(
    points: Float[np.ndarray, "atoms 3"],
    radii: Float[np.ndarray, " atoms"],
    corners: Float[np.ndarray, "corners 3"],
) -> str:
    """A box around everything, at least as large as a small molecule."""
    flat = np.concatenate([points[:, :2], corners[:, :2], np.zeros((0, 2))])
    if len(flat) == 0:
        return "-1 -1 2 2"
    pad = 0.5 + (radii.max() if len(radii) else 0.0)
    low, high = flat.min(axis=0) - pad, flat.max(axis=0) + pad
    width, height = np.maximum(high - low, [4.0, 2.0])
    x, y = (low + high) / 2
    return f"{x - width / 2:.2f} {-y - height / 2:.2f} {width:.2f} {height:.2f}"


def hex_color(color: Float[np.ndarray, " 3"]) -> str:
    """A color between 0 and 1 as pages write it."""
    return "#" + "".join(f"{round(255 * c):02x}" for c in color)
