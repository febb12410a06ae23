"""Matplotlib figures as inline SVG that takes fonts and colors from the page."""

import io
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

INK: Final = "#010203"
"""Stands for the text color of the page."""
RULE: Final = "#010204"
"""Stands for the color of thin lines of the page."""
SERIES: Final = ("#010211", "#010212", "#010213", "#010214", "#010215", "#010216")
"""Stand for the colors of data series of the page."""

_PAGE_COLORS: Final[Mapping[str, str]] = {
    INK: "currentColor",
    RULE: "var(--rule)",
    **{color: f"var(--series-{n})" for n, color in enumerate(SERIES, start=1)},
}

_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "equipot",
    "font.size": 8.0,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.4,
    "patch.linewidth": 0.8,
}

PIXELS_PER_INCH: Final = 200
"""Resolution of the parts with too many points for vectors."""


def render(
    name: str, draw: Callable[[Figure], None], size: tuple[float, float] = (3.5, 2.9)
) -> str:
    """Draw a figure and return it as an ``<svg>`` element.

    Args:
        name: Unique in the page; prefixes the identifiers inside the figure.
        draw: Draws on an empty figure, with `INK`, `RULE` and `SERIES` as colors.
        size: Width and height in inches at a font size of 8 points.

    Returns:
        The element, without name spaces, scripts, or links out of the page.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            dpi=PIXELS_PER_INCH,
            metadata={"Date": None, "Creator": None, "Type": None, "Format": None},
        )
    return _for_page(name, buffer.getvalue())


def _for_page(name: str, document: str) -> str:
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s(xmlns|xmlns:xlink|version)="[^"]*"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg", '<svg aria-hidden="true"', 1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    for color, replacement in _PAGE_COLORS.items():
        svg = svg.replace(color, replacement)
    return svg
