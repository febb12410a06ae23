"""The report: one HTML file that needs nothing else, neither network nor scripts."""

from collections.abc import Sequence
from pathlib import Path

from equipot.evaluation.results import Evaluation
from equipot.report import background, figures
from equipot.report.findings import committee_sentence, verdict, warnings
from equipot.report.history import Row
from equipot.report.parts import sections
from equipot.report.parts.made import footer
from equipot.report.parts.markup import Markup, join, tag
from equipot.report.parts.page import page
from equipot.report.provenance import Provenance
from equipot.report.worst import worst_structures, worst_table
from equipot.storage.atomic_file import make_folder, write_atomically


def render_report(
    evaluation: Evaluation, about: Provenance, history: Sequence[Row] = ()
) -> str:
    """Report on an evaluation.

    Args:
        evaluation: Result to report.
        about: Model, data and environment.
        history: Learning curves of the model.

    Returns:
        A complete HTML document without references to anything outside of it.
    """
    title = f"{model_name(about.model)} – equipot evaluation"
    return page(
        title,
        _header(evaluation, about),
        tag("main", *_sections(evaluation, about, history)),
        footer(about.origin),
    )


def write_report(
    path: Path, evaluation: Evaluation, about: Provenance, history: Sequence[Row] = ()
) -> None:
    """Write what `render_report` returns; missing folders are made."""
    make_folder(path.parent)
    write_atomically(path, render_report(evaluation, about, history).encode())


def model_name(path: str) -> str:
    """What to call a model: its file, or the run that a plain ``model`` comes from."""
    file = Path(path)
    generic = file.stem in {"model", "best", "last", "final"} and file.parent.name
    return file.parent.name if generic else file.stem


def _header(evaluation: Evaluation, about: Provenance) -> Markup:
    sentences = [*warnings(evaluation, about.header), *about.notes]
    notices = tag("ul", *(tag("li", text) for text in sentences), class_="notices")
    date = about.environment.get("Date", "")
    committee = committee_sentence(evaluation)
    return tag(
        "header",
        tag("p", "equipot evaluation", class_="eyebrow"),
        tag("h1", model_name(about.model)),
        tag("p", verdict(evaluation), class_="verdict"),
        tag("p", committee) if committee else "",
        tag("p", " · ".join([about.model, *about.data, date]), class_="subtitle"),
        notices if sentences else "",
    )


def _sections(
    evaluation: Evaluation, about: Provenance, history: Sequence[Row]
) -> Sequence[Markup]:
    section = sections.section
    limits = about.header.get("statistics", {}).get("minimum_distances", {})
    worst = worst_structures(evaluation)
    curves = figures.learning_curves(history)
    details = figures.force_details(evaluation, about.header)
    optional = {
        "parity": ("Predictions against labels", figures.parity(evaluation)),
        "residuals": ("Distribution of errors", figures.residuals(evaluation)),
        "forces": ("Which forces are wrong", details),
        "groups": ("Errors in groups", join(*sections.breakdowns(evaluation))),
        "worst": (
            "Worst structures",
            worst_table(evaluation, worst, limits) if worst else "",
        ),
        "learning": ("Learning curves", curves),
    }
    return [
        sections.key_figures(evaluation),
        section("accuracy", "Accuracy", sections.accuracy(evaluation)),
        *(
            section(name, title, content)
            for name, (title, content) in optional.items()
            if content
        ),
        section(
            "domain",
            "Domain of validity",
            background.domain(evaluation, about.header),
        ),
        *(
            [section("verification", "Verification", verified)]
            if (verified := background.verification(about))
            else []
        ),
        section("provenance", "Provenance", background.provenance(about)),
    ]
