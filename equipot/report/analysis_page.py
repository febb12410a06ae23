"""The analysis of a trajectory as a page, and its files."""

from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup

from equipot.md.analysis.analyze import Analysis, coefficient, mean_text
from equipot.report.analysis_plots import (
    draw_correlation,
    draw_displacements,
    draw_radial,
    draw_states,
)
from equipot.report.parts.made import Made
from equipot.report.parts.numbers import minus
from equipot.report.parts.page import Table, render
from equipot.report.parts.svg import figure
from equipot.storage.atomic_file import write_atomically, write_json
from equipot.storage.provenance import Origin


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
    record = {**analysis.record(), **Made(origin).record()}
    write_json(folder / "analysis.json", record)
    write_atomically(folder / "report.html", analysis_page(analysis, origin).encode())


def analysis_page(analysis: Analysis, origin: Origin | None = None) -> str:
    """A complete HTML document about one trajectory.

    Args:
        analysis: To show.
        origin: For the footer.
    """
    return render(
        "analysis",
        command="analyze",
        heading=_heading(Path(analysis.trajectory.source)),
        summary=f"{analysis.lines()[0]}.",
        warnings=analysis.notes,
        **Made(origin).header,
        analysis=analysis,
        averages=_averages(analysis),
        radial=_radial(analysis),
        no_pairs=_without_pairs(analysis),
        displacements=_displacements(analysis),
        states=_of_spectrum(analysis, "states", draw_states),
        correlation=_of_spectrum(analysis, "correlation", draw_correlation),
        coefficients=[(e.element, coefficient(e)) for e in analysis.diffusion],
    )


def _heading(file: Path) -> str:
    """Name of the run for a trajectory of `equipot md`, else of the file."""
    return file.parent.name if file.stem == "trajectory" else file.name


def _averages(analysis: Analysis) -> Table:
    rows = [
        (
            f"{name[0].upper()}{name[1:]} / {unit.replace('^3', '³')}",
            minus(mean_text(value)),
            "run too short" if value.error is None else value.error,
            value.deviation,
            value.samples,
        )
        for name, (value, unit) in analysis.averages.items()
    ]
    head = ("", "Mean", "Standard error", "Standard deviation", "Samples")
    return Table("Averages; standard errors by block averaging", head, rows)


def _radial(analysis: Analysis) -> dict[str, Markup]:
    radial = analysis.radial
    return {
        pair: figure(f"radial-{pair}", draw_radial, radial=radial, pair=pair)
        for pair, values in ({} if radial is None else radial.functions).items()
        if values.any()
    }


def _without_pairs(analysis: Analysis) -> str:
    """Pairs of elements that have no peak within the largest distance."""
    functions = {} if analysis.radial is None else analysis.radial.functions
    return ", ".join(pair for pair, values in functions.items() if not values.any())


def _displacements(analysis: Analysis) -> Markup | None:
    entries, interval = analysis.diffusion, analysis.trajectory.interval
    if not entries or interval is None:
        return None
    draw = draw_displacements
    return figure("moved", draw, (7.0, 2.9), entries=entries, interval=interval)


def _of_spectrum(
    analysis: Analysis, name: str, draw: Callable[..., None]
) -> Markup | None:
    found = analysis.spectrum
    return None if found is None else figure(name, draw, spectrum=found)
