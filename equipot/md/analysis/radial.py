"""Radial distribution functions up to half of the smallest height of the cell."""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from equipot.md.analysis.trajectory import Trajectory
from equipot.neighbors import neighbor_list

DEFAULT_RANGE_A = 10.0
"""Default range in Å, if the cell allows it."""
MAX_FRAMES = 200
"""Largest number of frames used, evenly spaced; more would add little."""


@dataclass(frozen=True)
class Radial:
    """Partial and total radial distribution functions."""

    distances: Float[np.ndarray, " bins"]
    """Centers of the bins in Å."""
    functions: dict[str, Float[np.ndarray, " bins"]]
    """g(r) by pair of elements, such as ``Na-Cl``, and ``all``; 1 for an ideal gas."""
    coordination: dict[str, Float[np.ndarray, " bins"]]
    """Mean number of neighbors within the outer edge of each bin; ``Na-Cl`` counts Cl
    around Na."""
    limit: float
    """Half of the smallest height of the cell in Å."""
    frames: int

    def first_peak(self, pair: str) -> tuple[float, float]:
        """Position in Å and height of the highest bin."""
        values = self.functions[pair]
        n = int(values.argmax())
        return float(self.distances[n]), float(values[n])


def half_height(trajectory: Trajectory) -> float:
    """Largest radius in Å within which each pair occurs in one periodic image only."""
    cells = trajectory.cells
    volumes = np.abs(np.linalg.det(cells))
    areas = np.stack(
        [
            np.linalg.norm(
                np.cross(cells[:, (k + 1) % 3], cells[:, (k + 2) % 3]), axis=1
            )
            for k in range(3)
        ]
    )
    return float((volumes / areas).min()) / 2


def radial_distribution(
    trajectory: Trajectory, *, reach: float | None = None, bins: int = 200
) -> Radial:
    """Radial distribution functions, averaged over frames.

    The reference for an element with N atoms is an ideal gas of N - 1 partners, so that
    g(r) of an ideal gas is 1 for any N.

    Args:
        trajectory: 3D-periodic trajectory.
        reach: Largest distance in Å; by default 10 Å or half of the smallest height of
            the cell, whichever is less.
        bins: Number of bins.

    Raises:
        ValueError: If the trajectory is not 3D-periodic, or `reach` exceeds half of the
            smallest height of the cell.
    """
    if not trajectory.pbc.all():
        raise ValueError(
            "a radial distribution needs a density, expected a 3D-periodic "
            f"trajectory, got pbc={trajectory.pbc.tolist()}"
        )
    limit = half_height(trajectory)
    if reach is not None and reach > limit:
        raise ValueError(
            f"--reach is {reach:g} Å, expected at most {limit:.3f} Å, half of the "
            "smallest height of the cell: beyond it atoms are counted with their own "
            "periodic images; use a smaller value or a larger cell"
        )
    reach = min(DEFAULT_RANGE_A, limit) if reach is None else reach
    edges = np.linspace(0.0, reach, bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    chosen = np.unique(
        np.linspace(0, len(trajectory) - 1, min(MAX_FRAMES, len(trajectory))).astype(
            int
        )
    )
    found = {pair: np.zeros(bins) for pair in _pairs(trajectory)}
    weighted = {pair: np.zeros(bins) for pair in found}
    for n in chosen:
        volume = abs(np.linalg.det(trajectory.cells[n]))
        for pair, counts in _counts(trajectory, int(n), edges, found).items():
            found[pair] += counts
            weighted[pair] += counts * volume
    functions, coordination = {}, {}
    for (a, b), counts in found.items():
        first, second = _number(trajectory, a), _number(trajectory, b)
        partners = first * (second - (1 if a == b else 0))
        if partners == 0:
            continue
        name = _name(a, b)
        functions[name] = weighted[a, b] / (len(chosen) * partners * shells)
        coordination[name] = np.cumsum(counts) / (len(chosen) * first)
        if a != b:
            coordination[_name(b, a)] = np.cumsum(counts) / (len(chosen) * second)
    return Radial(
        distances=(edges[1:] + edges[:-1]) / 2,
        functions=functions,
        coordination=coordination,
        limit=limit,
        frames=len(chosen),
    )


def _pairs(trajectory: Trajectory) -> list[tuple[int, int]]:
    """Pairs of atomic numbers, and (0, 0) for all atoms."""
    pairs = list(combinations_with_replacement(trajectory.elements, 2))
    return pairs if len(pairs) == 1 else [(0, 0), *pairs]


def _number(trajectory: Trajectory, element: int) -> int:
    if element == 0:
        return len(trajectory.numbers)
    return int((trajectory.numbers == element).sum())


def _name(a: int, b: int) -> str:
    return "all" if a == 0 else f"{chemical_symbols[a]}-{chemical_symbols[b]}"


def _counts(
    trajectory: Trajectory,
    frame: int,
    edges: Float[np.ndarray, " edges"],
    pairs: dict[tuple[int, int], Float[np.ndarray, " bins"]],
) -> dict[tuple[int, int], Float[np.ndarray, " bins"]]:
    """Histogram of pair distances of one frame, by pair of elements."""
    positions, cell = trajectory.positions[frame], trajectory.cells[frame]
    near = neighbor_list(positions, cell, trajectory.pbc, float(edges[-1]))
    senders, receivers = near.index
    vectors = positions[senders] - positions[receivers] + near.shift @ cell
    distances = np.linalg.norm(vectors, axis=1)
    first, second = trajectory.numbers[receivers], trajectory.numbers[senders]
    counts = {}
    for a, b in pairs:
        chosen = slice(None) if a == 0 else (first == a) & (second == b)
        counts[a, b] = np.histogram(distances[chosen], edges)[0].astype(float)
    return counts
