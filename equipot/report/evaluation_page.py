"""The report on an evaluation: one HTML file that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from equipot.evaluation.results import Evaluation
from equipot.report import evaluation_figures as figures
from equipot.report import evaluation_tables as tables
from equipot.report import training_domain
from equipot.report.findings import committee_sentence, defined, verdict, warnings
from equipot.report.history import Row
from equipot.report.parts.page import Table, render
from equipot.report.provenance import Provenance
from equipot.report.worst import worst_structures, worst_table
from equipot.storage.atomic_file import make_folder, write_atomically

DETAILS = {
    "model": "Architecture",
    "training": "Training",
    "origin": "Original of the converted model",
    "provenance": "Provenance of the model",
    "statistics": "Statistics of the training set",
}
"""Sections of the header that are shown in full, folded up."""


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
    committee = committee_sentence(evaluation)
    statistics = about.header.get("statistics", {})
    limits = statistics.get("minimum_distances", {})
    worst = worst_structures(evaluation)
    return render(
        "evaluation",
        command="evaluate",
        heading=model_name(about.model),
        summary=verdict(evaluation),
        paragraphs=[committee] if committee else [],
        subtitle=_joined(about.model, *about.data, about.environment.get("Date", "")),
        warnings=[*warnings(evaluation, about.header), *about.notes],
        footer=about.origin.lines(),
        evaluation=evaluation,
        elements=len(set(evaluation.atomic_numbers.tolist())),
        quantities=defined(evaluation),
        accuracy=tables.accuracy(evaluation),
        parity=figures.parity(evaluation),
        residuals=figures.residuals(evaluation),
        forces=figures.force_details(evaluation, limits),
        groups=tables.breakdowns(evaluation),
        worst=worst_table(evaluation, worst, limits) if worst else None,
        learning=figures.learning_curves(history),
        domain=training_domain.facts(statistics),
        distances=training_domain.distances(limits, evaluation.closest),
        verified=certificate_sentence(about),
        files=_files(about),
        details=_details(about.header),
        about=about,
    )


def write_report(
    path: Path, evaluation: Evaluation, about: Provenance, history: Sequence[Row] = ()
) -> None:
    """Write what `render_report` returns; missing folders are made."""
    make_folder(path.parent)
    write_atomically(path, render_report(evaluation, about, history).encode())


def model_name(path: str) -> str:
    """Name of a model: its file, or the run that a plain ``model`` comes from."""
    file = Path(path)
    generic = file.stem in {"model", "best", "last", "final"} and file.parent.name
    return file.parent.name if generic else file.stem


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _files(about: Provenance) -> Table:
    hashes = list(chain(about.members.items(), about.data.items()))
    return Table("Files", ("File", "SHA-256"), hashes, text_columns=2)


def _details(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Titles and JSON of `DETAILS`, without the learning curves."""
    found = {title: header[key] for key, title in DETAILS.items() if key in header}
    if isinstance(training := found.get("Training"), Mapping):
        found["Training"] = {k: v for k, v in training.items() if k != "history"}
    return [
        (title, json.dumps(values, indent=2, ensure_ascii=False))
        for title, values in found.items()
    ]


def certificate_sentence(about: Provenance) -> tuple[str, Sequence[str]] | None:
    """Content of ``verification.json`` beside the model, and the failed checks.

    Returns:
        A sentence and failures; None without the file.
    """
    found = about.certificate
    if found is None:
        return None
    if not found:
        return (
            "WARNING: verification.json beside this model is not a certificate. Run "
            "equipot verify."
        ), ()
    made = (
        f"on {found['structures']}, by equipot {found['equipot']} on "
        f"{found['gpu'] or found['processor']}, {found['time']}"
    )
    if found["model_sha256"] != about.header.get("sha256"):
        return (
            "WARNING: verification.json beside this model belongs to another model "
            f"(SHA-256 {str(found['model_sha256'])[:12]}…); this model has not been "
            "verified. Run equipot verify."
        ), ()
    if found["passed"]:
        return f"All checks of equipot verify passed {made}.", ()
    return f"FAILED checks of equipot verify {made}:", found["failures"]
