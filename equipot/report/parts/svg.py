"""Matplotlib figures as inline SVG that takes fonts and colors from the page."""

import io
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup
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

_FILE_COLORS: Final[Mapping[str, str]] = {
    INK: "#16202b",
    RULE: "#d5dae0",
    **dict(
        zip(
            SERIES,
            ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9"),
            strict=True,
        )
    ),
}
"""Those of the page on white paper."""

_STYLE: Final[Any] = {
    "savefig.transparent": True,
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
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.4,
    "patch.linewidth": 0.8,
}

PIXELS_PER_INCH: Final = 200
"""Resolution of the parts with too many points for vectors."""


def figure(
    name: str,
    draw: Callable[..., None],
    size: tuple[float, float] = (3.5, 2.9),
    **values: Any,
) -> Markup:
    """Draw a figure as an ``<svg>`` element.

    Args:
        name: Unique in the page; prefixes the identifiers inside the figure.
        draw: Draws on an empty figure, with `INK`, `RULE` and `SERIES` as colors.
        size: Width and height in inches at a font size of 8 points.
        values: Further arguments of `draw`.
    """
    return _for_page(name, _document(draw, size, **values))


def figure_file(
    draw: Callable[..., None], size: tuple[float, float] = (3.5, 2.9), **values: Any
) -> str:
    """Draw a figure as an SVG document on white.

    Args:
        draw: As for `figure`.
        size: Width and height in inches at a font size of 8 points.
        values: Further arguments of `draw`.
    """
    white = {"savefig.transparent": False, "savefig.facecolor": "white"}
    document = _document(draw, size, white, **values)
    for color, replacement in _FILE_COLORS.items():
        document = document.replace(color, replacement)
    return document


def _document(
    draw: Callable[..., None],
    size: tuple[float, float],
    style: Mapping[str, Any] | None = None,
    **values: Any,
) -> str:
    metadata = dict.fromkeys(("Date", "Creator", "Type", "Format"))
    with mpl.rc_context(_STYLE | dict(style or {})):
        canvas, buffer = Figure(figsize=size, layout="constrained"), io.StringIO()
        draw(canvas, **values)
        canvas.savefig(buffer, format="svg", dpi=PIXELS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


def _for_page(name: str, document: str) -> Markup:
    """The ``<svg>`` element without name spaces, sizes, scripts, or links outside."""
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s(xmlns|xmlns:xlink|version)="[^"]*"', "", svg)
    for size in ("width", "height"):
        svg = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg", '<svg aria-hidden="true"', 1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    for color, replacement in _PAGE_COLORS.items():
        svg = svg.replace(color, replacement)
    return Markup(svg)
