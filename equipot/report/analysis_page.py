"""The analysis of a trajectory as a page, and its files."""

from functools import partial
from pathlib import Path

from equipot.md.analysis.analyze import Analysis, coefficient
from equipot.report.analysis_plots import (
    draw_correlation,
    draw_displacements,
    draw_radial,
    draw_states,
)
from equipot.report.parts.figure import figure, grid
from equipot.report.parts.made import footer
from equipot.report.parts.markup import Markup, number, tag
from equipot.report.parts.movie import notices
from equipot.report.parts.page import page
from equipot.report.parts.sections import section
from equipot.report.parts.tables import facts, table
from equipot.storage.atomic_file import write_atomically, write_json
from equipot.storage.provenance import SECTION, Origin


def write_analysis(
    folder: Path, analysis: Analysis, origin: Origin | None = None
) -> None:
    """Write ``analysis.json`` and ``report.html``.

    Args:
        folder: Made if it is not there.
        analysis: What to write.
        origin: Version, date, trajectory, and the models that it was made with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = analysis.record()
    if origin is not None:
        record[SECTION] = origin.record()
    write_json(folder / "analysis.json", record)
    write_atomically(folder / "report.html", analysis_page(analysis, origin).encode())


def analysis_page(analysis: Analysis, origin: Origin | None = None) -> str:
    """A complete HTML document about one trajectory.

    Args:
        analysis: To show.
        origin: For the footer.
    """
    name = Path(analysis.trajectory.source).name
    return page(
        f"{name} – dynamics",
        tag(
            "header",
            tag("p", "equipot analyze", class_="eyebrow"),
            tag("h1", name),
            tag("p", analysis.lines()[0], class_="verdict"),
            notices(analysis.notes),
        ),
        tag(
            "main",
            section("averages", "Averages", _averages(analysis)),
            *_radial(analysis),
            *_diffusion(analysis),
            *_spectrum(analysis),
            section("method", "Method", _method(analysis)),
        ),
        footer(origin),
    )


def _averages(analysis: Analysis) -> Markup:
    rows = [
        (
            f"{name[0].upper()}{name[1:]} / {unit.replace('^3', '³')}",
            f"{value.mean:.6g}".replace("-", "−"),
            "too short" if value.error is None else number(value.error),
            number(value.deviation),
            str(value.samples),
        )
        for name, (value, unit) in analysis.averages.items()
    ]
    head = ("", "Mean", "Standard error", "Standard deviation", "Samples")
    return table("Averages, with errors from blocks", head, rows, sortable=False)


def _radial(analysis: Analysis) -> list[Markup]:
    radial = analysis.radial
    if radial is None:
        return []
    figures = [
        figure(
            f"radial-{pair}",
            partial(draw_radial, radial=radial, pair=pair),
            "All atoms" if pair == "all" else pair,
            f"Radial distribution over {radial.frames} frames; 1 is an ideal gas.",
        )
        for pair in radial.functions
    ]
    return [section("radial", "Radial distribution", grid(figures))]


def _diffusion(analysis: Analysis) -> list[Markup]:
    entries, interval = analysis.diffusion, analysis.trajectory.interval
    if not entries or interval is None:
        return []
    plot = figure(
        "displacements",
        partial(draw_displacements, entries=entries, interval=interval),
        "Mean square displacement",
        "Over all time origins; dashed: the fits that give the coefficients.",
        (7.0, 2.9),
    )
    values = facts([(entry.element, coefficient(entry)) for entry in entries])
    return [section("diffusion", "Diffusion", plot, values)]


def _spectrum(analysis: Analysis) -> list[Markup]:
    found = analysis.spectrum
    if found is None:
        return []
    figures = [
        figure(
            "states",
            partial(draw_states, spectrum=found),
            "Density of states",
            f"Mass-weighted; a line is {found.resolution:.2g} THz wide.",
        ),
        figure(
            "correlation",
            partial(draw_correlation, spectrum=found),
            "Velocity autocorrelation",
            "Mass-weighted, over all time origins.",
        ),
    ]
    return [section("vibrations", "Vibrations", grid(figures))]


def _method(analysis: Analysis) -> Markup:
    trajectory = analysis.trajectory
    interval = trajectory.interval
    rows = [
        ("Frames", str(len(trajectory))),
        ("Atoms", str(len(trajectory.numbers))),
        ("Interval", "unknown" if interval is None else f"{1000 * interval:g} fs"),
        ("Degrees of freedom", str(trajectory.degrees_of_freedom)),
        ("Averages", "errors from blocks, Phys. Rev. E 83, 066706 (2011)"),
    ]
    if analysis.radial is not None:
        rows.append(
            (
                "Radial distribution",
                f"up to {analysis.radial.distances[-1]:.2f} Å; the cell allows "
                f"{analysis.radial.limit:.2f} Å",
            )
        )
    if analysis.diffusion:
        rows.append(
            (
                "Diffusion",
                "Einstein relation in three dimensions; error from five blocks; no "
                "correction for the size of the cell",
            )
        )
    if analysis.spectrum is not None:
        rows.append(("Density of states", "Welch's method with Hann windows"))
    return facts(rows)
