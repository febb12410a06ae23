"""Print the report of a data check in the terminal."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from equipot.data.checks.findings import DataReport, FileSummary, Severity, counted

STYLES: dict[Severity, tuple[str, str]] = {
    "error": ("✗", "bold red"),
    "warning": ("!", "yellow"),
    "info": ("·", "dim"),
}
MAX_PAIRS_SHOWN = 12
GAP = " · "
INDENT = (0, 0, 0, 2)


def print_report(report: DataReport, console: Console) -> None:
    """Print file summaries, shortest distances, findings, and whether the check passed.

    Args:
        report: Result of `equipot.data.checks.check.examine`.
        console: Console to print to.
    """
    for file in report.files:
        for line in _describe(file):
            console.print(line, highlight=False)
    if report.units:
        stated = ", ".join(f"{name} in {unit}" for name, unit in report.units.items())
        console.print(f"converted on reading: {stated}", highlight=False)
    console.print()
    if report.minimum_distances:
        console.print(f"[bold]Shortest distances[/] (Å)  {_distances(report)}\n")
    findings = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    findings.add_column(no_wrap=True)
    findings.add_column(no_wrap=True)
    findings.add_column(overflow="fold")
    for f in report.findings:
        mark, style = STYLES[f.severity]
        text = Text(f.message)
        if f.sources:
            text.append("\n" + "  ".join(map(_short, f.sources)), style="dim")
        findings.add_row(Text(mark, style=style), Text(f.check, style=style), text)
    console.print(findings)
    console.print(_verdict(report))


def _describe(f: FileSummary) -> Iterator[RenderableType]:
    """Lines that summarize a file; they fit a narrow terminal."""
    yield Text(Path(f.path).name, style="bold")
    isolated = f" + {counted(f.isolated, 'isolated atom')}" if f.isolated else ""
    facts = [f"{counted(f.structures, 'structure')}{isolated}"]
    if f.structures:
        facts.append(f"{_range(f.atoms[0], f.atoms[1], 'd')} atoms")
        facts.append(" ".join(f.elements))
    if len(f.config_types) > 1:
        facts.append(", ".join(f"{n} {kind}" for kind, n in f.config_types.items()))
    yield Padding(Text(GAP.join(facts)), INDENT)
    if f.structures:
        yield Padding(Text(GAP).join(_labels(f)), INDENT)


def _labels(f: FileSummary) -> Iterator[Text]:
    """Ranges of energy, forces and stress, and how many structures have them."""
    values = {
        "energy": f.energy_per_atom
        and f"energy {_range(*f.energy_per_atom, '.2f')} eV/atom",
        "forces": f"forces rms {f.force_rms or 0:.3g}, max {f.force_max or 0:.3g} eV/Å",
        "stress": f.pressure and f"pressure {_range(*f.pressure, '.3g')} GPa",
    }
    for name, count in f.labels.items():
        text = Text(values[name] or "") if count else Text(f"no {name}", style="dim")
        if 0 < count < f.structures:
            text.append(f" (on {count} of {f.structures})", style="yellow")
        yield text


def _range(low: float | int, high: float | int, form: str) -> str:
    first, last = format(low, form), format(high, form)
    return first if first == last else f"{first} … {last}"


def _distances(report: DataReport) -> str:
    pairs = sorted(report.minimum_distances.items(), key=lambda p: p[1])
    shown = "  ".join(
        f"{pair}\N{NO-BREAK SPACE}{d:.2f}" for pair, d in pairs[:MAX_PAIRS_SHOWN]
    )
    rest = len(pairs) - MAX_PAIRS_SHOWN
    return shown + (f"  [dim]and {rest} pairs more[/]" if rest > 0 else "")


def _short(source: str) -> str:
    """Source without the directories of its files."""
    return " = ".join(Path(part).name for part in source.split(" = "))


def _verdict(report: DataReport) -> Text:
    errors = sum(f.severity == "error" for f in report.findings)
    warnings = sum(f.severity == "warning" for f in report.findings)
    counts = f"errors: {errors}, warnings: {warnings}"
    if errors:
        return Text(f"\n✗ would degrade a training run: {counts}", style="bold red")
    return Text(
        f"\n✓ no errors that would degrade a training run: {counts}", style="bold green"
    )
