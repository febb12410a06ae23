"""Mean square displacements and diffusion coefficients."""

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from equipot.md.analysis.correlation import mean_square_displacement
from equipot.md.analysis.trajectory import Trajectory

BLOCKS = 5
"""Pieces of the trajectory whose scatter is the error."""
WINDOW = (0.1, 0.5)
"""Lags of the fit, relative to the length of a block."""
SHORTEST_BLOCK = 20
"""Frames; fewer give no slope."""
DIFFUSIVE = (0.8, 1.2)
"""Exponents of the time at which a displacement counts as diffusion."""
LATER = (0.5, 1.5)
"""The same at times of up to half of the trajectory, where noise is larger: what
vibrates looks like diffusion between flight and standstill, but not for long."""
MIN_DISPLACEMENT = 1.0
"""Å^2 that atoms must have moved within half of the trajectory."""
DRIFTS = 10.0
"""Square displacement of the center, relative to that of independent atoms."""
CM2_PER_S = 1e-4
"""Of 1 Å^2/ps."""


@dataclass(frozen=True)
class Diffusion:
    """Motion of the atoms of one element."""

    element: str
    displacement: Float[np.ndarray, "lags 3"]
    """Mean square displacement by direction in Å^2."""
    coefficient: float | None
    """In Å^2/ps; None if the motion is not diffusion, or the run too short."""
    error: float | None
    """Standard error of the coefficient, from blocks."""
    exponent: float | None
    """Power of the time in the window of the fit: 1 for diffusion, 2 for flight."""
    window: tuple[float, float] | None
    """Lags of the fit in ps."""
    remark: str
    """Why there is no coefficient; empty if there is one."""


def diffusion(trajectory: Trajectory) -> tuple[list[Diffusion], list[str]]:
    """Mean square displacement and diffusion coefficient of each element.

    Args:
        trajectory: With a known time between frames. Fixed atoms are left out.

    Returns:
        One entry for each element that moves, and what the user should know.

    Raises:
        ValueError: If the time between frames is not known.
    """
    if trajectory.interval is None:
        raise ValueError("a diffusion coefficient needs the time between frames")
    positions, notes = _at_rest(trajectory)
    found = []
    for element in trajectory.elements:
        chosen = (trajectory.numbers == element) & trajectory.free
        if chosen.any():
            found.append(
                _of_element(element, positions[:, chosen], trajectory.interval)
            )
    return found, notes


def _at_rest(
    trajectory: Trajectory,
) -> tuple[Float[np.ndarray, "frames atoms 3"], list[str]]:
    """Positions without a drift of the whole, which would look like diffusion."""
    positions = trajectory.positions
    atoms = len(trajectory.numbers)
    if not trajectory.free.all() or atoms == 1 or len(trajectory) < 2:
        return positions, []
    weights = trajectory.masses / trajectory.masses.sum()
    center = np.einsum("a,tai->ti", weights, positions)
    moved = float(((center[-1] - center[0]) ** 2).sum())
    own = positions - center[:, None]
    typical = float(((own[-1] - own[0]) ** 2).sum(axis=1).mean()) / atoms
    if moved <= DRIFTS * typical or moved < 1e-6:
        return positions, []
    return own, [
        f"the center of mass drifts by {moved**0.5:.3g} Å: displacements are taken "
        "relative to it"
    ]


def _of_element(
    element: int, positions: Float[np.ndarray, "frames atoms 3"], interval: float
) -> Diffusion:
    displacement = mean_square_displacement(positions)
    symbol = chemical_symbols[element]
    length = len(positions) // BLOCKS
    if length < SHORTEST_BLOCK:
        remark = (
            f"{len(positions)} frames are too few for a diffusion coefficient, "
            f"expected {BLOCKS * SHORTEST_BLOCK} or more"
        )
        return Diffusion(symbol, displacement, None, None, None, None, remark)
    lags = np.arange(int(WINDOW[0] * length), int(WINDOW[1] * length) + 1)
    times = lags * interval
    window = (float(times[0]), float(times[-1]))
    total = displacement.sum(axis=1)
    if total[lags].min() <= 0:
        return Diffusion(
            symbol, displacement, None, None, None, window, "the atoms do not move"
        )
    exponent = _exponent(times, total[lags])
    blocks = [
        mean_square_displacement(positions[n * length : (n + 1) * length]).sum(axis=1)
        for n in range(BLOCKS)
    ]
    slopes = np.array([np.polyfit(times, block[lags], 1)[0] for block in blocks]) / 6
    coefficient = float(np.polyfit(times, total[lags], 1)[0]) / 6
    error = float(slopes.std(ddof=1)) / BLOCKS**0.5
    whole = np.arange(*(int(share * len(positions)) for share in WINDOW))
    later = _exponent(whole * interval, total[whole])
    remark = ""
    if total[whole].max() < MIN_DISPLACEMENT:
        remark = (
            "no diffusion within this run: the root mean square displacement is only "
            f"{total[whole].max() ** 0.5:.2g} Å"
        )
    elif not DIFFUSIVE[0] <= exponent <= DIFFUSIVE[1]:
        remark = (
            "no diffusion within this run: the mean square displacement grows as "
            f"t^{exponent:.2f}, expected t^1"
        )
    elif not LATER[0] <= later <= LATER[1]:
        remark = (
            "no diffusion within this run: at times up to "
            f"{whole[-1] * interval:.3g} ps the mean square displacement grows as "
            f"t^{later:.2f}, expected t^1"
        )
    elif coefficient < 2 * error:
        remark = (
            f"{coefficient:.2g} ± {error:.2g} Å²/ps is not distinguishable from zero; "
            "make the run longer"
        )
    if remark:
        return Diffusion(symbol, displacement, None, None, exponent, window, remark)
    return Diffusion(symbol, displacement, coefficient, error, exponent, window, "")


def _exponent(
    times: Float[np.ndarray, " lags"], displacement: Float[np.ndarray, " lags"]
) -> float:
    """Power of the time with which a displacement grows."""
    logs = np.log(np.maximum(displacement, 1e-300))
    return float(np.polyfit(np.log(times), logs, 1)[0])
