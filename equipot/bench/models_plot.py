"""Time per atom against the number of atoms, for several calculators."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from equipot.bench.model_comparison import CallCost
from equipot.report.parts.svg import INK, SERIES

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
    for atoms, name in {cost.num_atoms: cost.structure for cost in costs}.items():
        axes.annotate(
            name,
            (atoms, 1.01),
            xycoords=("data", "axes fraction"),
            rotation=35,
            color=INK,
            fontsize=7,
        )
    axes.legend()
