"""Mean square displacements and diffusion coefficients."""

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from equipot.md.analysis.correlation import mean_square_displacement
from equipot.md.analysis.trajectory import Trajectory

NUM_BLOCKS = 5
"""Blocks of the trajectory; their scatter gives the standard error."""
FIT_WINDOW = (0.1, 0.5)
"""Range of lags of the linear fit, relative to the length of a block."""
MIN_BLOCK_FRAMES = 20
"""Smallest number of frames in a block."""
DIFFUSIVE_EXPONENTS = (0.8, 1.2)
"""Range of exponents of the mean square displacement that is accepted as diffusion."""
LATE_EXPONENTS = (0.5, 1.5)
"""Range of exponents at lags of up to half of the trajectory, where noise is larger.
Vibration resembles diffusion between the ballistic regime and the plateau, but not at
these longer lags."""
MIN_DISPLACEMENT_A2 = 1.0
"""Smallest mean square displacement in Å^2 within half of the trajectory."""
MIN_DRIFT_RATIO = 10.0
"""Ratio of the square displacement of the center of mass to that expected for
independent atoms, above which the drift is subtracted."""
CM2_PER_S_PER_A2_PER_PS = 1e-4
"""Diffusion coefficient in cm^2/s of 1 Å^2/ps."""


@dataclass(frozen=True)
class Diffusion:
    """Mean square displacement and diffusion coefficient of one element."""

    element: str
    displacement: Float[np.ndarray, "lags 3"]
    """Mean square displacement by direction in Å^2."""
    coefficient: float | None
    """Diffusion coefficient in Å^2/ps; None if the motion is not diffusive or the run
    is too short."""
    error: float | None
    """Standard error of the coefficient, from blocks."""
    exponent: float | None
    """Exponent of the mean square displacement in the fit window: 1 for diffusion, 2
    for ballistic motion."""
    window: tuple[float, float] | None
    """Range of lags of the fit in ps."""
    remark: str
    """Reason why there is no coefficient; empty if there is one."""


def diffusion(trajectory: Trajectory) -> tuple[list[Diffusion], list[str]]:
    """Mean square displacement and diffusion coefficient of each element.

    Args:
        trajectory: Trajectory with a known time between frames. Fixed atoms are left
            out.

    Returns:
        One entry for each element with free atoms, and notes for the user.

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
    """Positions relative to the center of mass if it drifts, and notes."""
    positions = trajectory.positions
    atoms = len(trajectory.numbers)
    if not trajectory.free.all() or atoms == 1 or len(trajectory) < 2:
        return positions, []
    weights = trajectory.masses / trajectory.masses.sum()
    center = np.einsum("a,tai->ti", weights, positions)
    moved = float(((center[-1] - center[0]) ** 2).sum())
    own = positions - center[:, None]
    typical = float(((own[-1] - own[0]) ** 2).sum(axis=1).mean()) / atoms
    if moved <= MIN_DRIFT_RATIO * typical or moved < 1e-6:
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
    length = len(positions) // NUM_BLOCKS
    if length < MIN_BLOCK_FRAMES:
        remark = (
            f"{len(positions)} frames are too few for a diffusion coefficient, "
            f"expected at least {NUM_BLOCKS * MIN_BLOCK_FRAMES}"
        )
        return Diffusion(symbol, displacement, None, None, None, None, remark)
    lags = np.arange(int(FIT_WINDOW[0] * length), int(FIT_WINDOW[1] * length) + 1)
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
        for n in range(NUM_BLOCKS)
    ]
    slopes = np.array([np.polyfit(times, block[lags], 1)[0] for block in blocks]) / 6
    coefficient = float(np.polyfit(times, total[lags], 1)[0]) / 6
    error = float(slopes.std(ddof=1)) / NUM_BLOCKS**0.5
    whole = np.arange(*(int(share * len(positions)) for share in FIT_WINDOW))
    later = _exponent(whole * interval, total[whole])
    remark = ""
    if total[whole].max() < MIN_DISPLACEMENT_A2:
        remark = (
            f"root mean square displacement of only {total[whole].max() ** 0.5:.2g} Å: "
            "no diffusion within this run"
        )
    elif not DIFFUSIVE_EXPONENTS[0] <= exponent <= DIFFUSIVE_EXPONENTS[1]:
        remark = (
            f"the mean square displacement grows as t^{exponent:.2f}, expected t^1: no "
            "diffusion within this run"
        )
    elif not LATE_EXPONENTS[0] <= later <= LATE_EXPONENTS[1]:
        remark = (
            f"at lags up to {whole[-1] * interval:.3g} ps the mean square "
            f"displacement grows as t^{later:.2f}, expected t^1: no diffusion within "
            "this run"
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
    """Exponent of the time dependence of a mean square displacement."""
    logs = np.log(np.maximum(displacement, 1e-300))
    return float(np.polyfit(np.log(times), logs, 1)[0])
