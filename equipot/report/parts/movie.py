"""Molecules that move in a page: a mode that oscillates, or a path that is walked."""

import json
from collections.abc import Sequence
from importlib.resources import files

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from jaxtyping import Float

from equipot.report.parts.markup import Markup, join, tag
from equipot.report.parts.picture import hex_color, view

DIGITS = 3
"""Decimals of coordinates in Å."""


def mode_movie(
    atoms: Atoms, modes: Float[np.ndarray, "modes atoms 3"], labels: Sequence[str]
) -> Markup:
    """A structure that oscillates along a mode that the reader chooses.

    Args:
        atoms: Structure at rest.
        modes: Displacements of unit length.
        labels: Of the modes.
    """
    axes = view(atoms.positions, atoms.pbc)
    center = atoms.positions.mean(axis=0)
    positions = (atoms.positions - center) @ axes.T
    scene = {
        **_looks(atoms),
        "extent": _extent(positions) + 0.3,
        "positions": _rounded(positions),
        "modes": [{"vectors": _rounded(mode @ axes.T)} for mode in modes],
    }
    options = [tag("option", text, value=str(n)) for n, text in enumerate(labels)]
    return _movie(
        scene,
        tag("label", "Mode ", tag("select", *options)),
        tag("label", "Amplitude ", _slider(0.0, 1.2, 0.05, 0.5)),
    )


def path_movie(frames: Sequence[Atoms], labels: Sequence[str], first: int) -> Markup:
    """Structures one after the other, forth and back.

    Args:
        frames: The same atoms in every one.
        labels: Of the frames.
        first: Frame to show at first, from which the view is chosen.
    """
    axes = view(frames[first].positions, frames[first].pbc)
    center = frames[first].positions.mean(axis=0)
    places = [(frame.positions - center) @ axes.T for frame in frames]
    scene = {
        **_looks(frames[first]),
        "extent": max(map(_extent, places)),
        "frames": [_rounded(place) for place in places],
        "labels": list(labels),
    }
    return _movie(
        scene,
        tag("label", "Frame ", _slider(0.0, len(frames) - 1.0, 1.0, float(first))),
        tag("output", labels[first]),
    )


def movie_script() -> Markup:
    """What lets all movies of a page run; to be put at its end."""
    path = files("equipot.report") / "assets" / "movie.js"
    return tag("script", Markup(path.read_text(encoding="utf-8")))


def _movie(scene: dict[str, object], *controls: str) -> Markup:
    data = json.dumps(scene, separators=(",", ":")).replace("<", "\\u003c")
    return tag(
        "div",
        tag(
            "canvas",
            role="img",
            aria_label="Balls and sticks that move; drag to turn.",
        ),
        tag("div", tag("button", "Play", type="button"), *controls, class_="controls"),
        tag("script", Markup(data), type="application/json"),
        class_="movie",
    )


def _slider(low: float, high: float, step: float, value: float) -> Markup:
    bounds = f'min="{low:g}" max="{high:g}" step="{step:g}" value="{value:g}"'
    return Markup(f'<input type="range" {bounds}>')


def _looks(atoms: Atoms) -> dict[str, object]:
    colors = [jmol_colors[number] for number in atoms.numbers]
    return {
        "radii": [round(float(covalent_radii[n]), 2) for n in atoms.numbers],
        "colors": [
            [hex_color(c + 0.75 * (1 - c)), hex_color(c), hex_color(0.6 * c)]
            for c in colors
        ],
    }


def _extent(positions: Float[np.ndarray, "atoms 3"]) -> float:
    """Half of the smallest square that holds a structure however it is turned, in Å."""
    return float(np.linalg.norm(positions, axis=1).max()) + 0.8


def _rounded(values: Float[np.ndarray, "atoms 3"]) -> list[list[float]]:
    return [[round(float(x), DIGITS) for x in row] for row in values]


def notices(sentences: Sequence[str]) -> Markup:
    """Warnings at the top of a page; nothing without any."""
    items = (tag("li", text) for text in sentences)
    return tag("ul", *items, class_="notices") if sentences else join()
