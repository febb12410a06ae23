"""Plots of errors; each function draws on an empty figure."""

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from equipot.evaluation.results import Compared, Evaluation
from equipot.report.parts.svg import INK, SERIES
from equipot.report.quantities import Quantity
from equipot.units import MEV_PER_EV

MANY_POINTS: Final = 2000
"""From here on the density of points is shown instead of points."""

POINTS: Final = "#3d85c6"
"""Color of points; drawn as pixels, they cannot take their color from the page."""

DENSITY: Final = ListedColormap(colormaps["viridis"](np.linspace(0.3, 0.95, 256)))
"""Safe for the color-blind, and without the ends that vanish on white or on black."""


def draw_parity(figure: Figure, compared: Compared, quantity: Quantity) -> None:
    """Predictions against labels, with the diagonal of a perfect fit.

    Args:
        figure: Empty figure.
        compared: Flat labels and predictions in the unit of `quantity`.
        quantity: What they are.
    """
    axes = figure.add_subplot(box_aspect=1)
    low = min(compared.reference.min(), compared.predicted.min())
    high = max(compared.reference.max(), compared.predicted.max())
    margin = 0.04 * (high - low) or 0.1 * abs(high) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=INK, lw=0.7, alpha=0.6, zorder=1)
    _cloud(axes, compared.reference, compared.predicted, (*limits, *limits))
    axes.locator_params(nbins=6)
    axes.set_xlabel(f"label / {quantity.unit}")
    axes.set_ylabel(f"prediction / {quantity.unit}")


def draw_residuals(figure: Figure, compared: Compared, quantity: Quantity) -> None:
    """Histogram of errors beside the normal distribution of the same width.

    Args:
        figure: Empty figure.
        compared: Flat labels and predictions in the unit of `quantity`.
        quantity: What they are.
    """
    axes = figure.add_subplot()
    error = quantity.error_per_label * compared.error
    rmse = float(np.sqrt(np.mean(error**2)))
    largest = float(np.abs(error).max()) or 1.0
    bins = int(np.clip(2 * len(error) ** (1 / 3), 15, 80))
    edges = np.linspace(-largest, largest, bins + 1)
    counts, _ = np.histogram(error, edges)
    axes.stairs(counts, edges, fill=True, color=SERIES[0], alpha=0.35)
    axes.stairs(counts, edges, color=SERIES[0], lw=1.0)
    if rmse > 0:
        x = np.linspace(-largest, largest, 301)
        width = 2 * largest / bins
        normal = np.exp(-0.5 * (x / rmse) ** 2) / (rmse * np.sqrt(2 * np.pi))
        axes.plot(x, len(error) * width * normal, "--", color=SERIES[1], lw=1.2)
    axes.set_yscale("log")
    axes.set_ylim(0.6, 2.0 * max(counts.max(), 1))
    _plain_ticks(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set(xlabel=f"error / {quantity.error_unit}", ylabel="labels per bin")


def draw_force_errors(figure: Figure, evaluation: Evaluation) -> None:
    """Length of the error of each force against the length of the force.

    Args:
        figure: Empty figure.
        evaluation: Holds at least one labeled force that is not zero.
    """
    axes = figure.add_subplot()
    length = np.linalg.norm(evaluation.forces.reference, axis=1)
    error = MEV_PER_EV * np.linalg.norm(evaluation.forces.error, axis=1)
    shown = np.isfinite(error) & (length > 0) & (error > 0)
    x, y = length[shown], error[shown]
    # without the smallest thousandth, which a logarithmic axis would stretch
    low_x, low_y = np.quantile(x, 0.001) / 1.3, np.quantile(y, 0.001) / 1.3
    _cloud(axes, x, y, (low_x, 1.5 * x.max(), low_y, 2.0 * y.max()), scale="log")
    _plain_ticks(axes.xaxis)
    _plain_ticks(axes.yaxis)
    _median_line(axes, x, y)
    ends = np.array(axes.get_xlim())
    for percentage in (100, 10, 1):
        slope = MEV_PER_EV * percentage / 100
        axes.plot(ends, slope * ends, ":", color=INK, lw=0.8, alpha=0.7)
        _label_guide(axes, slope, f"{percentage} %")
    axes.set_xlabel("force magnitude / (eV/Å)")
    axes.set_ylabel("force error / (meV/Å)")


def draw_closeness(
    figure: Figure, closeness: Float[np.ndarray, " structures"], evaluation: Evaluation
) -> None:
    """Largest force error of structures against how close their atoms come.

    Args:
        figure: Empty figure.
        closeness: Ratio of the shortest distances to those of the training set.
        evaluation: The same structures.
    """
    axes = figure.add_subplot()
    error = MEV_PER_EV * evaluation.largest_force_error
    shown = np.isfinite(closeness) & (error > 0)
    axes.axvline(1.0, color=SERIES[1], lw=1.2, ls="--")
    _points(axes, closeness[shown], error[shown], 9)
    axes.set_yscale("log")
    _plain_ticks(axes.yaxis)
    _few_log_ticks(axes)
    axes.set_xlabel("shortest distance / that in training")
    axes.set_ylabel("largest force error / (meV/Å)")


def draw_elements(figure: Figure, evaluation: Evaluation, most: int = 6) -> None:
    """Share of force components with an error below x, for each element.

    Args:
        figure: Empty figure.
        evaluation: Holds at least one labeled force.
        most: Elements shown; those with the most labels are.
    """
    axes = figure.add_subplot()
    error = MEV_PER_EV * np.abs(evaluation.forces.error)
    labeled = np.isfinite(error).all(axis=1)
    numbers, counts = np.unique(evaluation.atomic_numbers[labeled], return_counts=True)
    chosen = sorted(numbers[np.argsort(-counts, kind="stable")][:most].tolist())
    starts = []
    for color, number in zip(SERIES, chosen, strict=False):
        own = np.sort(error[labeled & (evaluation.atomic_numbers == number)].ravel())
        share = np.linspace(0, 100, 200)
        line = np.maximum(np.percentile(own, share), 1e-12)
        axes.plot(line, share, color=color, label=chemical_symbols[number])
        starts.append(line[2])
    axes.set_xscale("log")
    axes.set(xlim=(max(min(starts), 1e-6), None), ylim=(0, 100))
    _plain_ticks(axes.xaxis)
    axes.set_xlabel("error of a component / (meV/Å)")
    axes.set_ylabel("components with a smaller error / %")
    axes.legend(loc="upper left", handlelength=1.2)


def draw_curves(
    figure: Figure,
    curves: Mapping[str, tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]],
    unit: str,
) -> None:
    """Learning curves on a logarithmic axis.

    Args:
        figure: Empty figure.
        curves: Epoch and positive ordinate by name of the curve.
        unit: Label of the ordinate.
    """
    axes = figure.add_subplot()
    for n, (name, (x, y)) in enumerate(curves.items()):
        marker = "o" if len(x) < 3 else None
        axes.plot(x, y, color=SERIES[n % len(SERIES)], label=name, marker=marker, ms=3)
    axes.set_yscale("log")
    _plain_ticks(axes.yaxis)
    _few_log_ticks(axes)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set(xlabel="epoch", ylabel=unit)
    if len(curves) > 1:
        axes.legend(loc="upper right", handlelength=1.2)


def _cloud(
    axes: Axes,
    x: Float[np.ndarray, " points"],
    y: Float[np.ndarray, " points"],
    limits: tuple[float, float, float, float],
    scale: Literal["linear", "log"] = "linear",
) -> None:
    """Points, or their density where there are many; sets scale and limits."""
    axes.set(xscale=scale, yscale=scale, xlim=limits[:2], ylim=limits[2:])
    if len(x) < MANY_POINTS:
        _points(axes, x, y, 14 if len(x) < 200 else 6)
        return
    inside = (x >= limits[0]) & (y >= limits[2])
    axes.hexbin(
        x[inside],
        y[inside],
        gridsize=70,
        bins="log",
        mincnt=1,
        cmap=DENSITY,
        xscale=scale,
        yscale=scale,
        extent=tuple(np.log10(limits)) if scale == "log" else limits,
        linewidths=0.1,
        rasterized=True,
    )
    axes.set(xlim=limits[:2], ylim=limits[2:])


def _points(
    axes: Axes, x: Float[np.ndarray, " points"], y: Float[np.ndarray, " points"], s: int
) -> None:
    axes.scatter(x, y, s=s, c=POINTS, alpha=0.6, linewidths=0, rasterized=True)


def _median_line(
    axes: Axes, x: Float[np.ndarray, " points"], y: Float[np.ndarray, " points"]
) -> None:
    """Median of y in bins of x that hold enough points to have one."""
    edges = np.geomspace(x.min(), x.max() * (1 + 1e-9), 16)
    which = np.digitize(x, edges)
    bins = [n for n in range(1, 16) if np.count_nonzero(which == n) >= 10]
    centers = [np.sqrt(edges[n - 1] * edges[n]) for n in bins]
    medians = [np.median(y[which == n]) for n in bins]
    axes.plot(centers, medians, color=SERIES[1], lw=1.8, label="median")
    if bins:
        axes.legend(loc="upper left", handlelength=1.2)


def _label_guide(axes: Axes, slope: float, label: str) -> None:
    """Write beside the line y = slope x where it leaves the axes."""
    right, top = axes.get_xlim()[1], axes.get_ylim()[1]
    leaves_at_top = slope * right > top
    x, y = (top / slope, top) if leaves_at_top else (right, slope * right)
    if axes.get_xlim()[0] < x and axes.get_ylim()[0] < y:
        axes.annotate(
            label,
            (x, y),
            xytext=(-3, -9 if leaves_at_top else -10),
            textcoords="offset points",
            ha="right",
            va="center" if leaves_at_top else "top",
            fontsize=7,
        )


def _few_log_ticks(axes: Axes) -> None:
    """Ticks at 1, 2, 5 where the axis spans less than two decades."""
    low, high = axes.get_ylim()
    if high / low < 100:
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)))
        ticks = np.outer(decades, [1, 2, 5]).ravel()
        axes.set_yticks(ticks[(ticks >= low) & (ticks <= high)])
        axes.set_yticks([], minor=True)


def _plain_ticks(axis: Axis) -> None:
    """Labels without powers of ten."""
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
