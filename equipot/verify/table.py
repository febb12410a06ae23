"""Numbers of a verification as a table for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from equipot.system.terminal import Fitted
from equipot.verify.certificate import Certificate
from equipot.verify.result import Check, Verification

LONGEST_LABEL = 36
"""Characters that are left of 80 columns."""


def report(
    verifications: Sequence[Verification], skipped: Mapping[str, str]
) -> Iterator[RenderableType]:
    """Everything that `equipot verify` prints.

    Args:
        verifications: One for each backend.
        skipped: Backends that were not verified, and why.

    Yields:
        A table for each backend, the reasons of all tolerances, and a verdict.
    """
    for verification in verifications:
        yield Fitted(backend_table(verification))
        if verification.error is not None:
            yield f"[red]{verification.backend} raised[/] {escape(verification.error)}"
            yield ""
    yield from _reasons(verifications)
    for name, reason in skipped.items():
        yield f"not verified: {name}: {escape(reason)}"
    for verification in verifications:
        yield _verdict(verification)


def certificate_report(certificate: Certificate) -> Iterator[RenderableType]:
    """What `equipot verify` prints about the potential itself.

    Args:
        certificate: Of the potential.

    Yields:
        A table, the reasons of what failed, what else to know, and a verdict.
    """
    yield Fitted(certificate_table(certificate))
    for check in certificate.failures:
        yield Padding(f"[red]{escape(str(check))}[/]", (0, 0, 0, 2))
        yield Padding(escape(check.reason), (0, 0, 0, 4))
    for note in certificate.notes:
        yield f"note: {escape(note)}"
    verdict = "[green]passed[/]" if certificate.passed else "[red]FAILED[/]"
    yield f"potential: {verdict}, {len(certificate.checks)} checks"


def certificate_table(certificate: Certificate) -> Table:
    """One row per check, narrow enough for 80 columns."""
    c = certificate
    table = Table(
        title=f"the potential itself, {c.atoms} atoms, {c.seconds:.1f} s",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("must agree with", no_wrap=True)
    for name in ("difference", "relative", "allowed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for check in c.checks:
        d = check.difference
        table.add_row(
            escape(_short_label(check, c.checks)),
            f"{d.max_abs:.1e} {check.unit}".rstrip(),
            f"{d.relative:.1e}",
            f"{d.tolerance:.1e}",
            "[green]ok[/]" if check.passed else "[red]FAIL[/]",
        )
    return table


def _short_label(check: Check, others: Sequence[Check]) -> str:
    """The same, without what would not fit; it is told beside the failure."""
    label = check_label(check, others)
    if len(label) <= LONGEST_LABEL:
        return label
    return check_label(replace(check, where=""), others)


def check_label(check: Check, others: Sequence[Check]) -> str:
    """What a check was made against, its quantity if need be, and where."""
    same = [c for c in others if c.against == check.against]
    label = f"{check.against}, {check.quantity}" if len(same) > 1 else check.against
    return f"{label} ({check.where})" if check.where else label


def backend_table(verification: Verification) -> Table:
    """One row per check, narrow enough for 80 columns."""
    v = verification
    role = "the reference" if v.backend == v.reference else f"against {v.reference}"
    table = Table(
        title=f"{v.backend}, {role}, {v.device}, {v.seconds:.1f} s",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("quantity", no_wrap=True)
    table.add_column("compared with", no_wrap=True)
    for name in ("difference", "relative", "allowed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for check in v.checks:
        table.add_row(*_row(check), end_section=_last_of_kind(check, v.checks))
    return table


def _row(check: Check) -> tuple[str, ...]:
    d = check.difference
    return (
        check.quantity,
        _compared_with(check),
        f"{d.max_abs:.1e} {check.unit}",
        f"{d.relative:.1e}",
        f"{d.tolerance:.1e}",
        "[green]ok[/]" if check.passed else "[red]FAIL[/]",
    )


def _compared_with(check: Check) -> str:
    if _kind(check) == "differences":
        return check.against.removeprefix("differences of ")
    return f"{'copies' if check.where else 'reference'}, {check.dtype}"


def _kind(check: Check) -> str:
    """Checks of one kind share the reason of their tolerances."""
    return "differences" if check.against.startswith("diff") else check.dtype


def _last_of_kind(check: Check, checks: Sequence[Check]) -> bool:
    return check is [c for c in checks if _kind(c) == _kind(check)][-1]


def _reasons(verifications: Sequence[Verification]) -> Iterator[RenderableType]:
    """Why the tolerances are what they are, once for each kind of check."""
    kinds: dict[str, str] = {}
    for verification in verifications:
        for check in verification.checks:
            kinds.setdefault(_kind(check), check.reason)
    if kinds:
        yield "allowed, relative to the largest value:"
    for kind, basis in kinds.items():
        yield Padding(f"{kind}: {basis}", (0, 0, 0, 2))


def _verdict(verification: Verification) -> str:
    v = verification
    if v.passed:
        return f"{v.backend}: [green]passed[/], {len(v.checks)} checks"
    wrong = [f"{c.quantity} against {c.against} in {c.dtype}" for c in v.failures]
    if v.error is not None:
        wrong.append("it raised an error")
    return f"{v.backend}: [red]FAILED[/]: {', '.join(wrong)}"
