"""Molecules that move in a page: an oscillating mode, or a path."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from jaxtyping import Float

from equipot.report.parts.picture import shades, view

Scene = dict[str, Any]
"""JSON values for ``movie.js``: radii, colors, positions or frames, and labels."""


def mode_movie(
    atoms: Atoms, modes: Float[np.ndarray, "modes atoms 3"], labels: Sequence[str]
) -> Scene:
    """A structure that oscillates along one of its modes.

    Args:
        atoms: Structure at rest.
        modes: Displacements of unit length.
        labels: Of the modes.
    """
    (positions,), axes = _centered([atoms], 0)
    return {
        **_scene(atoms, [positions], labels),
        "extent": _extent(positions) + 0.3,
        "positions": _rounded(positions),
        "modes": [_rounded(mode @ axes.T) for mode in modes],
    }


def path_movie(frames: Sequence[Atoms], labels: Sequence[str], first: int) -> Scene:
    """Structures one after the other, forth and back.

    Args:
        frames: The same atoms in every one.
        labels: Of the frames.
        first: Frame to show at first, from which the view is chosen.
    """
    places, _ = _centered(frames, first)
    return {
        **_scene(frames[first], places, labels),
        "frames": [_rounded(place) for place in places],
        "first": first,
    }


def _scene(
    atoms: Atoms, places: Sequence[Float[np.ndarray, "atoms 3"]], labels: Sequence[str]
) -> Scene:
    return {
        "radii": [round(float(covalent_radii[n]), 2) for n in atoms.numbers],
        "colors": [[color for _, color in shades(n)] for n in atoms.numbers],
        "extent": max(map(_extent, places)),
        "labels": list(labels),
    }


def _centered(
    frames: Sequence[Atoms], first: int
) -> tuple[list[Float[np.ndarray, "atoms 3"]], Float[np.ndarray, "3 3"]]:
    """Coordinates in the view of one frame, and the axes of the view."""
    axes = view(frames[first].positions, frames[first].pbc)
    center = frames[first].positions.mean(axis=0)
    return [(frame.positions - center) @ axes.T for frame in frames], axes


def _extent(positions: Float[np.ndarray, "atoms 3"]) -> float:
    """Half of the smallest square that holds a structure however it is turned, in Å."""
    return float(np.linalg.norm(positions, axis=1).max()) + 0.8


def _rounded(values: Float[np.ndarray, "atoms 3"]) -> list[list[float]]:
    """Coordinates with three decimals."""
    return [[round(float(x), 3) for x in row] for row in values]
