"""A plot with its heading and caption, and several of them side by side."""

from collections.abc import Callable, Iterable

from matplotlib.figure import Figure

from equipot.report.parts.markup import Markup, join, tag
from equipot.report.parts.svg import render


def figure(
    name: str,
    draw: Callable[[Figure], None],
    title: str,
    caption: str,
    size: tuple[float, float] = (3.5, 2.9),
) -> Markup:
    """A plot with its heading and caption.

    Args:
        name: Unique in the page.
        draw: Draws on an empty figure.
        title: Heading.
        caption: What the plot shows; read out in place of it.
        size: Width and height in inches at a font size of 8 points.
    """
    image = Markup(render(name, draw, size))
    return tag(
        "figure",
        tag("h3", title),
        tag("div", image, role="img", aria_label=f"{title}. {caption}", class_="plot"),
        tag("figcaption", caption),
    )


def grid(figures: Iterable[Markup]) -> Markup:
    """Figures side by side, as many as fit; nothing without figures."""
    content = join(*figures)
    return tag("div", content, class_="figures") if content else content
