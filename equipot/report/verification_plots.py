"""Plots of what a verification measured; each function draws on an empty figure."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from equipot.report.parts.svg import INK, RULE, SERIES
from equipot.verify.cutoff_scan import CutoffScan
from equipot.verify.dimers import DimerScan
from equipot.verify.dynamics import Drift
from equipot.verify.scans import pair_label

LINEAR: Final = 1.0
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
        axes.plot(
            scan.distances[far],
            scan.energies[far],
            color=color,
            label=pair_label(scan.pair),
        )
        axes.plot(
            scan.distances[near],
            scan.energies[near],
            color=color,
            lw=1.0,
            ls=(0, (2, 1.5)),
        )
        if scan.limit is not None:
            at = np.interp(last, scan.distances, scan.energies)
            axes.plot(last, at, "o", color=color, ms=4)
    axes.axhline(0.0, color=INK, lw=0.6)
    axes.set_yscale("asinh", linear_width=LINEAR)
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in _TICKS if low <= tick <= high])
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0.0, cutoff)
    axes.set_xlabel("distance / Å")
    axes.set_ylabel("energy / eV")
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
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("distance / Å")
    axes.set_ylabel(label)


def draw_drift(figure: Figure, drift: Drift) -> None:
    """Error of the total energy at two time steps."""
    axes = _drift_axes(figure, drift, [1.0 for _ in drift.time_steps])
    axes.set_ylabel("energy − start / meV")


def draw_scaled_drift(figure: Figure, drift: Drift) -> None:
    """The same, divided by the square of the time step."""
    axes = _drift_axes(figure, drift, [step**2 for step in drift.time_steps])
    axes.set_ylabel("error / dt$^2$ / (meV/fs$^2$)")


def _drift_axes(figure: Figure, drift: Drift, scales: Sequence[float]) -> Axes:
    axes = figure.add_subplot()
    for n, (step, times, errors) in enumerate(
        zip(drift.time_steps, drift.times, drift.errors, strict=True)
    ):
        axes.plot(
            times,
            1e3 * errors / scales[n],
            color=SERIES[n],
            label=f"dt = {step:g} fs",
            marker="o",
            ms=2.5,
            lw=1.0,
        )
    axes.axhline(0.0, color=RULE, lw=0.8)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("time / fs")
    axes.legend(loc="best", handlelength=1.2)
    return axes


def _plain(value: float, _: int | None = None) -> str:
    return f"{value:g}".replace("-", "−")
