"""Plots against the highest degree, on logarithmic axes."""

from collections.abc import Mapping, Sequence
from itertools import cycle

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from equipot.report.parts.svg import INK, SERIES

MARKERS = "os^Dvx"
LINES = ("-", "--")
LEGEND_SHARE = 0.1
"""Height of a line of the legend, as a share of that of the curves below it."""


def draw_against_lmax(
    figure: Figure,
    curves: Mapping[str, Mapping[int, float]],
    unit: str,
    guides: Sequence[int] = (),
) -> None:
    """Quantities against lmax, both logarithmic.

    Args:
        figure: Empty figure.
        curves: Quantity by lmax, by name of the curve.
        unit: Label of the ordinate.
        guides: Exponents of lines to compare slopes with, through the lowest point.
    """
    axes = figure.add_subplot()
    styles = cycle((c, m) for c, m in zip(SERIES, MARKERS, strict=True))
    for n, ((name, points), (color, marker)) in enumerate(
        zip(curves.items(), styles, strict=False)
    ):
        line = LINES[n // len(SERIES) % len(LINES)]
        axes.plot(
            list(points),
            list(points.values()),
            line,
            color=color,
            marker=marker,
            ms=4,
            label=name,
        )
    degrees = sorted({lmax for values in curves.values() for lmax in values})
    lowest = min(value for values in curves.values() for value in values.values())
    for exponent in guides:
        values = [lowest * (lmax / degrees[0]) ** exponent for lmax in degrees]
        axes.plot(degrees, values, ":", color=INK, lw=0.8, alpha=0.6)
        axes.annotate(
            f"lmax^{exponent}", (degrees[-1], values[-1]), fontsize=7, ha="right"
        )
    axes.set(xscale="log", yscale="log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** (LEGEND_SHARE * len(curves)))
    axes.xaxis.set_major_locator(FixedLocator(degrees))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(lmax) for lmax in degrees])
    axes.set_xlabel("lmax")
    axes.set_ylabel(unit)
    axes.legend(loc="upper left", handlelength=1.6)
