"""Terminal tables of verification results."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from equipot.system.terminal import Fitted
from equipot.verify.consistency import DIFFERENCES
from equipot.verify.potential_report import PotentialReport
from equipot.verify.result import BackendReport, Check

MAX_LABEL_LENGTH = 33
"""Maximum label length for a table of 80 columns."""


def backend_tables(
    reports: Sequence[BackendReport], skipped: Mapping[str, str]
) -> Iterator[RenderableType]:
    """Tables and results of backends, for `equipot verify`.

    Args:
        reports: One report per backend.
        skipped: Backends that were not verified, and the reasons.

    Yields:
        A table per backend, the reasons of all tolerances, and the results.
    """
    for report in reports:
        yield Fitted(backend_table(report))
        if report.error is not None:
            yield f"[red]{report.backend} raised[/] {escape(report.error)}"
            yield ""
    yield from _reasons(reports)
    for name, reason in skipped.items():
        yield f"not verified: {name}: {escape(reason)}"
    for report in reports:
        yield _verdict(report)


def potential_report(report: PotentialReport) -> Iterator[RenderableType]:
    """Table and result of the potential, for `equipot verify`.

    Args:
        report: Report of the potential.

    Yields:
        A table, how to read it, an explanation of each failed check, notes, and the
        result.
    """
    yield Fitted(potential_table(report))
    yield "a check passes if its relative difference is at most the tolerance"
    for check in report.failures:
        yield Padding(f"[red]{escape(str(check))}[/]", (0, 0, 0, 2))
        yield Padding(escape(check.reason), (0, 0, 0, 4))
    for note in report.notes:
        yield f"note: {escape(note)}"
    result = "[green]passed[/]" if report.passed else "[red]FAILED[/]"
    yield f"potential: {result}, {len(report.checks)} checks"


def potential_table(report: PotentialReport) -> Table:
    """One row per check, at most 80 columns wide."""
    table = Table(
        title=f"potential, {report.structures} structures, {report.atoms} atoms, "
        f"{report.seconds:.1f} s",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("check", no_wrap=True)
    _add_numeric_columns(table)
    for check in report.checks:
        label = escape(_short_label(check, report.checks))
        table.add_row(label, *_numbers(check))
    return table


def _add_numeric_columns(table: Table) -> None:
    for name in ("difference", "relative", "tolerance"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)


def _numbers(check: Check) -> tuple[str, str, str, str]:
    d = check.difference
    return (
        f"{_two_digits(d.max_abs)} {check.unit}".rstrip(),
        _two_digits(d.relative),
        _two_digits(d.tolerance),
        "[green]ok[/]" if check.passed else "[red]FAIL[/]",
    )


def _two_digits(value: float) -> str:
    """Two significant digits, such as 0.097, 1e-4 or 2.5e-6."""
    if value == 0 or not math.isfinite(value) or 1e-3 <= abs(value) < 1e3:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def _short_label(check: Check, others: Sequence[Check]) -> str:
    """Label without the location if it is too long; failures print it separately."""
    label = check_label(check, others)
    if len(label) <= MAX_LABEL_LENGTH:
        return label
    return check_label(replace(check, where=""), others)


def check_label(check: Check, others: Sequence[Check]) -> str:
    """Name of a check, with its quantity if the name is not unique, and location."""
    same = [c for c in others if c.name == check.name]
    label = f"{check.name}, {check.quantity}" if len(same) > 1 else check.name
    return f"{label} ({check.where})" if check.where else label


def backend_table(report: BackendReport) -> Table:
    """One row per check, at most 80 columns wide."""
    is_reference = report.backend == report.reference
    role = "reference" if is_reference else f"compared with {report.reference}"
    table = Table(
        title=f"{report.backend}, {role}, {report.device}, {report.seconds:.1f} s",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("quantity", no_wrap=True)
    table.add_column("compared with", no_wrap=True)
    _add_numeric_columns(table)
    for check in report.checks:
        table.add_row(
            check.quantity,
            _compared_with(check),
            *_numbers(check),
            end_section=_last_of_kind(check, report.checks),
        )
    return table


def _compared_with(check: Check) -> str:
    if _kind(check) == DIFFERENCES:
        return DIFFERENCES
    return f"{'in batch' if check.where else 'reference'}, {check.dtype}"


def _kind(check: Check) -> str:
    """Key of checks with the same justification of their tolerances."""
    return DIFFERENCES if check.name.endswith(DIFFERENCES) else check.dtype


def _last_of_kind(check: Check, checks: Sequence[Check]) -> bool:
    return check is [c for c in checks if _kind(c) == _kind(check)][-1]


def _reasons(reports: Sequence[BackendReport]) -> Iterator[RenderableType]:
    """Justification of the tolerances, once for each kind of check."""
    kinds: dict[str, str] = {}
    for report in reports:
        for check in report.checks:
            kinds.setdefault(_kind(check), check.reason)
    if kinds:
        yield "tolerances, relative to the largest value:"
    for kind, basis in kinds.items():
        yield Padding(f"{kind}: {basis}", (0, 0, 0, 2))


def _verdict(report: BackendReport) -> str:
    if report.passed:
        return f"{report.backend}: [green]passed[/], {len(report.checks)} checks"
    wrong = [f"{c.quantity}, {c.name}, {c.dtype}" for c in report.failures]
    if report.error is not None:
        wrong.append("it raised an error")
    return f"{report.backend}: [red]FAILED[/]: {'; '.join(wrong)}"
