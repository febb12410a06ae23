"""Plots of frequencies, reaction paths and phonons; each draws on an empty figure."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from equipot.report.parts.svg import INK, RULE, SERIES
from equipot.units import MEV_PER_EV
from equipot.workflows.equation_of_state import EquationOfStateResult
from equipot.workflows.path import ReactionPath
from equipot.workflows.phonons import Bands, Phonons

DULONG_PETIT = 3 * 8.617333262e-5
"""Heat capacity of a classical atom in eV/K."""


def draw_frequencies(figure: Figure, frequencies: Float[np.ndarray, " modes"]) -> None:
    """A line for each mode, imaginary ones to the left of zero."""
    axes = figure.add_subplot()
    real = frequencies[frequencies >= 0]
    imaginary = frequencies[frequencies < 0]
    axes.vlines(real, 0, 1, color=SERIES[0], lw=1.2)
    axes.vlines(imaginary, 0, 1, color=SERIES[1], lw=1.2)
    axes.axvline(0, color=RULE, lw=0.8)
    axes.grid(visible=False)
    axes.set(yticks=[], ylim=(0, 1.1))
    axes.set_xlabel("frequency / cm$^{-1}$, imaginary below zero")


def draw_energy_profile(
    figure: Figure, path: ReactionPath, zero: float, end: float
) -> None:
    """Energy along a path, the saddle point and the minima of both sides marked.

    Args:
        figure: Empty figure.
        path: To draw.
        zero: Energy in eV of the minimum at the start, which is drawn as zero.
        end: Energy in eV of the minimum at the end.
    """
    axes = figure.add_subplot()
    energies = path.energies - zero
    top = path.lengths[path.saddle]
    axes.hlines(0.0, path.lengths[0], top, color=INK, lw=0.8, ls="--")
    axes.hlines(end - zero, top, path.lengths[-1], color=INK, lw=0.8, ls="--")
    axes.plot(path.lengths, energies, ".-", color=SERIES[0], ms=3)
    axes.plot(top, energies[path.saddle], "o", color=SERIES[1], ms=5)
    axes.annotate(
        f"{energies[path.saddle]:.3f} eV",
        (top, energies[path.saddle]),
        xytext=(6, 0),
        textcoords="offset points",
        color=INK,
        va="center",
    )
    axes.set(xlabel="along the path / Å amu$^{1/2}$", ylabel="energy / eV")


def draw_bands(figure: Figure, phonons: Phonons) -> None:
    """Bands, and beside them the density of states."""
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    bands = phonons.bands
    for distances, frequencies in zip(bands.distances, bands.frequencies, strict=True):
        left.plot(distances, frequencies, color=SERIES[0], lw=1.0)
    ticks, names = _ticks(bands)
    left.set_xticks(ticks, names)
    left.axhline(0, color=INK, lw=0.6)
    highest = max(float(f.max()) for f in bands.frequencies)
    left.set(xlim=(ticks[0], ticks[-1]), ylabel="frequency / THz")
    left.set_ylim(min(1.1 * phonons.lowest, 0.0), 1.05 * highest)
    frequencies, states = phonons.dos_frequencies, phonons.dos
    right.plot(states, frequencies, color=SERIES[0], lw=1.0)
    right.fill_betweenx(frequencies, states, color=SERIES[0], alpha=0.25)
    right.set(xlim=(0, None), xticks=[], xlabel="density of states")
    for axes in (left, right):
        axes.grid(axis="y", visible=False)


def draw_thermal(figure: Figure, phonons: Phonons) -> None:
    """Heat capacity and entropy of an atom, in units of Boltzmann's constant."""
    axes = figure.add_subplot()
    atoms = len(phonons.force_constants.phonopy.primitive)
    boltzmann = DULONG_PETIT / 3 * atoms
    heat, entropy = phonons.heat_capacity / boltzmann, phonons.entropy / boltzmann
    axes.plot(phonons.temperatures, heat, color=SERIES[0], label="heat capacity")
    axes.plot(phonons.temperatures, entropy, color=SERIES[1], label="entropy")
    axes.axhline(3, color=INK, lw=0.6, ls="--")
    axes.set(ylim=(0, None), xlabel="temperature / K", ylabel="per atom / $k_B$")
    axes.legend()


def draw_energy_volume(figure: Figure, found: EquationOfStateResult) -> None:
    """Energies of a scan and of the fit, in meV from its minimum."""
    axes = figure.add_subplot()
    fit, computed = (
        MEV_PER_EV * (e - found.energy) for e in (found.curve, found.energies)
    )
    axes.plot(found.curve_volumes, fit, color=SERIES[0])
    axes.plot(found.volumes, computed, ".", color=INK)
    axes.axvline(found.volume, color=RULE, lw=0.8)
    axes.set(xlabel="volume / Å$^3$ per cell", ylabel="energy / meV per cell")


def draw_pressure_volume(figure: Figure, found: EquationOfStateResult) -> None:
    """Pressures from the stress, and those of the fit."""
    axes = figure.add_subplot()
    axes.plot(found.curve_volumes, found.curve_pressures, color=SERIES[0])
    if len(found.pressures):
        axes.plot(found.volumes, found.pressures, ".", color=INK)
    axes.axhline(0, color=RULE, lw=0.8)
    axes.set(xlabel="volume / Å$^3$ per cell", ylabel="pressure / GPa")


def _ticks(bands: Bands) -> tuple[list[float], list[str]]:
    """Places and names of special points; two names where the path jumps."""
    places, names = [float(bands.distances[0][0])], [_greek(bands.labels[0][0])]
    for n, (distances, (a, b)) in enumerate(
        zip(bands.distances, bands.labels, strict=True)
    ):
        if n and bands.labels[n - 1][1] != a:
            names[-1] += f"|{_greek(a)}"
        places.append(float(distances[-1]))
        names.append(_greek(b))
    return places, names


def _greek(name: str) -> str:
    return "Γ" if name == "G" else name
