"""A report of the examination for the terminal."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from equipot.data.findings import DoctorReport, FileSummary, Severity

STYLES: dict[Severity, tuple[str, str]] = {
    "error": ("✗", "bold red"),
    "warning": ("!", "yellow"),
    "info": ("·", "dim"),
}
MOST_PAIRS = 12


def print_report(report: DoctorReport, console: Console) -> None:
    """Print facts of the files, shortest distances, findings and the verdict.

    Args:
        report: What `equipot.data.doctor.examine` returned.
        console: Where to print.
    """
    console.print(_files(report.files))
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


def _files(files: tuple[FileSummary, ...]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold")
    for name in (
        "structures",
        "atoms",
        "elements",
        "E / F / S",
        "E eV/atom",
        "F rms, max eV/Å",
        "p GPa",
    ):
        table.add_column(name, justify="right")
    for f in files:
        isolated = f" + {f.isolated} atoms" if f.isolated else ""
        table.add_row(
            escape(Path(f.path).name),
            f"{f.structures}{isolated}",
            _range(f.atoms[0], f.atoms[1], "d"),
            " ".join(f.elements) if len(f.elements) <= 6 else f"{len(f.elements)}",
            " ".join(_coverage(n, f.structures) for n in f.labels.values()),
            _range(*f.energy_per_atom, ".2f") if f.energy_per_atom else "-",
            "-" if f.force_rms is None else f"{f.force_rms:.3g}, {f.force_max:.3g}",
            _range(*f.pressure, ".3g") if f.pressure else "-",
        )
    return table


def _coverage(count: int, total: int) -> str:
    if count == total > 0:
        return "[green]all[/]"
    return "[dim]none[/]" if count == 0 else f"[yellow]{count}[/]"


def _range(low: float | int, high: float | int, form: str) -> str:
    first, last = format(low, form), format(high, form)
    return first if first == last else f"{first} … {last}"


def _distances(report: DoctorReport) -> str:
    pairs = sorted(report.minimum_distances.items(), key=lambda p: p[1])
    shown = "  ".join(f"{pair} {d:.2f}" for pair, d in pairs[:MOST_PAIRS])
    rest = len(pairs) - MOST_PAIRS
    return shown + (f"  [dim]and {rest} pairs more[/]" if rest > 0 else "")


def _short(source: str) -> str:
    """Sources without the folders that they are in."""
    return " = ".join(Path(part).name for part in source.split(" = "))


def _verdict(report: DoctorReport) -> Text:
    errors = sum(f.severity == "error" for f in report.findings)
    warnings = sum(f.severity == "warning" for f in report.findings)
    counts = f"errors: {errors}, warnings: {warnings}"
    if errors:
        return Text(f"\n✗ would spoil a training: {counts}", style="bold red")
    return Text(
        f"\n✓ nothing that would spoil a training: {counts}", style="bold green"
    )
