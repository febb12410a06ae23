"""Neighbor search with vesin, excluding cells for which it crashes or overflows.

Source: G. Fraux et al., vesin 0.6.2 (BSD-3), ``lib/src/cpu_cell_list.cpp``.
"""

import itertools

import numpy as np
import vesin

from equipot.neighbors.cell import SearchBox
from equipot.neighbors.pairs import Pairs

MAX_CELLS = 1e5
"""Number of cells above which vesin coarsens its grid and may divide by zero."""
MAX_INDEX = 2**30
"""Maximum of its 32-bit cell indices."""
MIN_CUTOFF = 1e-6
"""Cutoff in Å up to which vesin raises an error."""
MIN_VOLUME = 1e-30
"""Cell volume in Å^3 up to which vesin raises an error."""
ROUNDING_FACTOR = 1 - 1e-9
"""Factor that rounds cell counts down, since vesin's rounding is not reproduced."""


def search_vesin(box: SearchBox, cutoff: float) -> Pairs:
    """Find all directed pairs closer than the cutoff, including images of an atom.

    Args:
        box: One or more atoms in a fully periodic cell.
        cutoff: Cutoff radius in Å.

    Returns:
        Pairs, with shifts in terms of the original lattice vectors.

    Raises:
        ValueError: If vesin would crash or be wrong for this cell.
    """
    if (reason := vesin_is_unsafe(box, cutoff)) is not None:
        raise ValueError(
            f"vesin cannot search this structure: {reason}; "
            'use backend="auto" or backend="cells"'
        )
    search = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    pairs, shift = search.compute(
        points=box.positions,
        box=box.cell,
        periodic=np.ones(3, dtype=bool),
        quantities="PS",
        copy=False,  # views of memory owned by `search`, copied below
    )
    index = pairs.astype(np.int64).T
    return Pairs(index[0], index[1], box.original_shift(shift.astype(np.int64)))


def vesin_is_unsafe(box: SearchBox, cutoff: float) -> str | None:
    """Reason why vesin would fail for a cell, predicted from its source code.

    Above 1e5 cells vesin coarsens its grid with constant ratios of cell counts. In flat
    cells one of them is truncated to zero, and the division by zero terminates the
    process.

    Args:
        box: Fully periodic cell.
        cutoff: Cutoff radius in Å.

    Returns:
        The reason, or None if the search is safe.
    """
    if cutoff <= 1.01 * MIN_CUTOFF:
        return f"it does not support cutoffs up to {MIN_CUTOFF} Å, got {cutoff} Å"
    if abs(float(np.linalg.det(box.cell))) <= 1.01 * MIN_VOLUME:
        return f"it does not support cells up to {MIN_VOLUME} Å^3"
    ratios = [width / cutoff for width in box.thickness]
    extent = float(np.abs(box.positions).max()) * 3**0.5
    for width, ratio in zip(box.thickness, ratios, strict=True):
        if (extent / width + 1) * max(1.0, ratio) > MAX_INDEX:
            return "an atom is too many cells away for 32-bit indices"
    # Rounding may change a count by one: try both values
    choices = [
        {max(1, int(x * ROUNDING_FACTOR)), max(1, int(x / ROUNDING_FACTOR))}
        for x in ratios
    ]
    for shape in itertools.product(*choices):
        if not _coarse_grid_has_cells(*shape):
            return (
                f"its grid of {' x '.join(map(str, shape))} cells is too flat "
                "and would crash it"
            )
    return None


def _coarse_grid_has_cells(x: int, y: int, z: int) -> bool:
    if x * y * z <= MAX_CELLS * ROUNDING_FACTOR:
        return True
    z_coarse = int(ROUNDING_FACTOR * (MAX_CELLS / ((x / y) * (y / z) ** 2)) ** (1 / 3))
    y_coarse = int(ROUNDING_FACTOR * (y / z) * z_coarse)
    x_coarse = int(ROUNDING_FACTOR * (x / y) * y_coarse)
    return min(x_coarse, y_coarse, z_coarse) >= 1
