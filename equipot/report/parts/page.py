"""A page that needs nothing else: styles and scripts are in the file."""

from importlib.resources import files

from equipot.report.parts.markup import Markup, join, tag


def page(title: str, *body: str) -> str:
    """A complete HTML document without references to anything outside of it.

    Args:
        title: Shown by the browser.
        body: Elements of the page; text is escaped, `Markup` is not.
    """
    style, script = (_asset(name) for name in ("report.css", "sort.js"))
    head = join(
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        tag("title", title),
        tag("style", Markup(style)),
    )
    content = join(*body, tag("script", Markup(script)))
    document = tag("html", tag("head", head), tag("body", content), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def _asset(name: str) -> str:
    return (files("equipot.report") / "assets" / name).read_text(encoding="utf-8")
