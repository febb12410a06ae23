"""Time per atom against the number of atoms, for several calculators."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from equipot.bench.model_comparison import CallCost
from equipot.report.parts.svg import SERIES

MARKERS = "os^Dv*"


def draw_models(figure: Figure, costs: Sequence[CallCost], call: str) -> None:
    """Medians with quartiles on logarithmic axes; names of structures at the top.

    Args:
        figure: Empty.
        costs: Of all calculators and structures.
        call: What a call computes.
    """
    axes = figure.add_subplot()
    axes.set(xscale="log", yscale="log", xlabel="number of atoms")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    axes.set_ylabel(f"time per atom of {call} / µs")
    for n, label in enumerate(dict.fromkeys(cost.calculator for cost in costs)):
        own = [cost for cost in costs if cost.calculator == label]
        low, middle, high = (
            [1e6 * getattr(cost.wall, name) / cost.num_atoms for cost in own]
            for name in ("low", "median", "high")
        )
        errors = np.abs(np.array([low, high]) - middle)
        axes.errorbar(
            [cost.num_atoms for cost in own],
            middle,
            yerr=errors,
            color=SERIES[n % len(SERIES)],
            marker=MARKERS[n % len(MARKERS)],
            markersize=4,
            linewidth=0.9,
            label=label,
        )
    names = {cost.num_atoms: cost.structure for cost in costs}
    top = axes.secondary_xaxis("top")
    top.set_xticks(list(names), list(names.values()), rotation=35, ha="left")
    top.minorticks_off()
    axes.legend()
