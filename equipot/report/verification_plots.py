"""Plots of what a verification measured; each function draws on an empty figure."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from equipot.report.parts.svg import INK, RULE, SERIES
from equipot.verify.cutoff_scan import CutoffScan
from equipot.verify.dimers import DimerScan
from equipot.verify.dynamics import Drift
from equipot.verify.scans import pair_label

LINEAR_ENERGY: Final = 1.0
"""Energy in eV up to which the axis of dimers is linear."""

_DECADES: Final = (0.5, 1, 2, 5, 10, 30, 100, 300, 1e3, 1e4, 1e5, 1e6)
_TICKS: Final = (*(-tick for tick in _DECADES), 0.0, *_DECADES)


def draw_dimers(figure: Figure, scans: Sequence[DimerScan], cutoff: float) -> None:
    """Energies of pairs of atoms, dashed where they are refused.

    Args:
        figure: Empty figure.
        scans: At most as many as there are colors.
        cutoff: Largest distance that is shown, in Å.
    """
    axes = figure.add_subplot()
    for color, scan in zip(SERIES, scans, strict=False):
        last = scan.used[0]
        far, near = scan.distances >= last, scan.distances <= last
        full = {"label": pair_label(scan.pair)}
        dashed = {"lw": 1.0, "ls": (0, (2, 1.5))}
        for part, style in ((far, full), (near, dashed)):
            axes.plot(scan.distances[part], scan.energies[part], color=color, **style)
        if scan.limit is not None:
            at = np.interp(last, scan.distances, scan.energies)
            axes.plot(last, at, "o", color=color, ms=4)
    axes.axhline(0.0, color=INK, lw=0.6)
    axes.set_yscale("asinh", linear_width=LINEAR_ENERGY)
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in _TICKS if low <= tick <= high])
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set(xlim=(0.0, cutoff), xlabel="distance / Å", ylabel="energy / eV")
    axes.legend(loc="best", handlelength=1.2)


def draw_cutoff(
    figure: Figure, scan: CutoffScan, values: Float[np.ndarray, " points"], label: str
) -> None:
    """A quantity around the cutoff.

    Args:
        figure: Empty figure.
        scan: Whose distances are the abscissa.
        values: One for each distance.
        label: Name and unit.
    """
    axes = figure.add_subplot()
    axes.axvline(scan.cutoff, color=SERIES[1], lw=1.0, ls="--")
    axes.plot(scan.curve.distances, values, color=SERIES[0])
    axes.locator_params(nbins=6)
    axes.set(xlabel="distance / Å", ylabel=label)


def draw_drift(figure: Figure, drift: Drift, scaled: bool) -> None:
    """Error of the total energy at two time steps.

    Args:
        figure: Empty figure.
        drift: Errors to draw.
        scaled: Whether they are divided by the square of the time step.
    """
    axes = figure.add_subplot()
    curves = zip(SERIES, drift.time_steps, drift.times, drift.errors, strict=False)
    for color, step, times, errors in curves:
        values = 1e3 * errors / (step**2 if scaled else 1.0)
        label = f"dt = {step:g} fs"
        axes.plot(times, values, "o-", color=color, ms=2.5, lw=1.0, label=label)
    axes.axhline(0.0, color=RULE, lw=0.8)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    name = "error / dt$^2$ / (meV/fs$^2$)" if scaled else "energy error / meV"
    axes.set(xlabel="time / fs", ylabel=name)
    axes.legend(loc="best", handlelength=1.2)


def _plain(value: float, _: int | None = None) -> str:
    return f"{value:g}".replace("-", "−")
