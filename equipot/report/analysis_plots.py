"""Plots of the analysis of a trajectory; each draws on an empty figure."""

import numpy as np
from matplotlib.figure import Figure

from equipot.md.analysis.diffusion import Diffusion
from equipot.md.analysis.radial import Radial
from equipot.md.analysis.spectrum import CM_PER_THZ, Spectrum
from equipot.report.parts.svg import INK, SERIES

MOST_POINTS = 500
"""Of a curve."""
WEAK_SHARE = 1e-4
"""Share of the states above the highest frequency that is drawn."""


def draw_radial(figure: Figure, radial: Radial, pair: str) -> None:
    """Radial distribution of a pair of elements, an ideal gas dashed."""
    axes = figure.add_subplot()
    axes.axhline(1, color=INK, lw=0.6, ls="--")
    axes.plot(radial.distances, radial.functions[pair], color=SERIES[0], lw=1.0)
    axes.set(xlim=(0, float(radial.distances[-1])), ylim=(0, None))
    axes.set(xlabel="distance / Å", ylabel="g(r)")


def draw_displacements(
    figure: Figure, entries: list[Diffusion], interval: float
) -> None:
    """Mean square displacement of each element, and the fits."""
    axes = figure.add_subplot()
    for n, entry in enumerate(entries):
        total = entry.displacement.sum(axis=1)
        half = len(total) // 2 + 1
        every = max(half // MOST_POINTS, 1)
        times = np.arange(0, half, every) * interval
        color = SERIES[n % len(SERIES)]
        axes.plot(times, total[:half:every], color=color, lw=1.0, label=entry.element)
        if entry.coefficient is not None and entry.window is not None:
            ends = np.array(entry.window)
            near = np.interp(ends[0], np.arange(len(total)) * interval, total)
            fit = near + 6 * entry.coefficient * (ends - ends[0])
            axes.plot(ends, fit, color=INK, lw=0.8, ls="--")
    axes.set(xlim=(0, None), ylim=(0, None), xlabel="time / ps")
    axes.set_ylabel("mean square displacement / Å$^2$")
    axes.legend()


def draw_correlation(figure: Figure, spectrum: Spectrum) -> None:
    """Velocity autocorrelation."""
    axes = figure.add_subplot()
    axes.axhline(0, color=INK, lw=0.6)
    shown = min(len(spectrum.lags), MOST_POINTS)
    axes.plot(spectrum.lags[:shown], spectrum.correlation[:shown], color=SERIES[0])
    axes.set(xlim=(0, None), xlabel="time / ps", ylabel="velocity autocorrelation")


def draw_states(figure: Figure, spectrum: Spectrum) -> None:
    """Density of states, in all and by element."""
    axes = figure.add_subplot()
    wave_numbers = spectrum.frequencies * CM_PER_THZ
    total = spectrum.total
    left = 1 - np.cumsum(total) / total.sum()
    shown = min(int((left > WEAK_SHARE).sum()) + len(total) // 50 + 2, len(total))
    curves = spectrum.states if len(spectrum.states) > 1 else {}
    for n, (name, states) in enumerate({**curves, "all": total}.items(), start=1):
        color = SERIES[0 if name == "all" else n % len(SERIES)]
        axes.plot(wave_numbers[:shown], states[:shown], color=color, lw=0.9, label=name)
    axes.set(xlim=(0, None), ylim=(0, None), xlabel="frequency / cm$^{-1}$")
    axes.set_ylabel("density of states / THz$^{-1}$")
    axes.legend()
