"""vesin, guarded against the boxes that make it crash or overflow.

Source: G. Fraux et al., vesin 0.6.2 (BSD-3), ``lib/src/cpu_cell_list.cpp``.
"""

import itertools

import numpy as np
import vesin

from equipot.neighbors.cell import SearchBox
from equipot.neighbors.pairs import SearchResult

MOST_CELLS = 1e5
"""Cells above which vesin coarsens its grid, and may divide by zero."""
MOST_INDEX = 2**30
"""Bound on its 32-bit cell indices."""
SMALLEST_CUTOFF = 1e-6
"""It refuses cutoffs up to this one, in Å."""
SMALLEST_VOLUME = 1e-30
"""It refuses cells up to this volume, in Å^3."""
ROUND_DOWN = 1 - 1e-9
"""Its arithmetic is repeated to rounding only: a count is taken to be the lower one."""


def search_vesin(box: SearchBox, cutoff: float) -> SearchResult:
    """Every directed pair closer than the cutoff, self images included.

    Args:
        box: At least one atom in a fully periodic cell.
        cutoff: Radius in Å.

    Returns:
        Pairs, with shifts in terms of the original lattice vectors.

    Raises:
        ValueError: If vesin would crash or be wrong for this box.
    """
    if (reason := vesin_is_unsafe(box, cutoff)) is not None:
        raise ValueError(
            f"vesin cannot search this structure: {reason}; "
            'choose backend="auto" or backend="cells"'
        )
    search = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    pairs, shift = search.compute(
        points=box.positions,
        box=box.cell,
        periodic=np.ones(3, dtype=bool),
        quantities="PS",
        copy=False,  # views of memory that dies with `search`: copied below
    )
    index = pairs.astype(np.int64).T
    return SearchResult(index[0], index[1], box.original_shift(shift.astype(np.int64)))


def vesin_is_unsafe(box: SearchBox, cutoff: float) -> str | None:
    """Why vesin would fail on a box, predicted from its source.

    Above 1e5 cells it coarsens its grid, keeping the ratios of the numbers of cells,
    and on flat boxes truncates one of them to zero: a division by zero that ends the
    process.

    Args:
        box: The fully periodic cell to search.
        cutoff: Radius in Å.

    Returns:
        The reason, or None if it is safe.
    """
    if cutoff <= 1.01 * SMALLEST_CUTOFF:
        return f"it does not support cutoffs up to {SMALLEST_CUTOFF} Å, got {cutoff} Å"
    if abs(float(np.linalg.det(box.cell))) <= 1.01 * SMALLEST_VOLUME:
        return f"it does not support cells up to {SMALLEST_VOLUME} Å^3"
    ratios = [width / cutoff for width in box.thickness]
    extent = float(np.abs(box.positions).max()) * 3**0.5
    for width, ratio in zip(box.thickness, ratios, strict=True):
        if (extent / width + 1) * max(1.0, ratio) > MOST_INDEX:
            return "an atom is so many cells away that 32-bit indices overflow"
    # Rounding may give vesin one cell more or less than it gives us: try both.
    choices = [
        {max(1, int(x * ROUND_DOWN)), max(1, int(x / ROUND_DOWN))} for x in ratios
    ]
    for shape in itertools.product(*choices):
        if not _coarse_grid_has_cells(*shape):
            return (
                f"its grid of {' x '.join(map(str, shape))} cells is too flat "
                "and would crash it"
            )
    return None


def _coarse_grid_has_cells(x: int, y: int, z: int) -> bool:
    if x * y * z <= MOST_CELLS * ROUND_DOWN:
        return True
    z_coarse = int(ROUND_DOWN * (MOST_CELLS / ((x / y) * (y / z) ** 2)) ** (1 / 3))
    y_coarse = int(ROUND_DOWN * (y / z) * z_coarse)
    x_coarse = int(ROUND_DOWN * (x / y) * y_coarse)
    return min(x_coarse, y_coarse, z_coarse) >= 1
