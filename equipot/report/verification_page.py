"""A verification as a page: verdict, every check, and the measured curves."""

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from equipot.checkpoint.verification import ModelReport
from equipot.report import verification_plots as plots
from equipot.report.evaluation_page import model_name
from equipot.report.parts.numbers import plural, shown, typeset
from equipot.report.parts.page import Cell, Table, cell, fill, flagged, render
from equipot.report.parts.svg import SERIES, figure
from equipot.units import MEV_PER_EV
from equipot.verify import BackendReport, Check
from equipot.verify.dimers import MIN_SCAN_DISTANCE, DimerScan
from equipot.verify.dynamics import VERLET_ORDER
from equipot.verify.meaning import MEANING
from equipot.verify.potential_report import Curves
from equipot.verify.scans import pair_label
from equipot.verify.table import check_label

SMALLEST_SHARE = 1e-9
"""Share of the tolerance that has a bar of no length; bars are logarithmic."""
NUMBERS = ("Result", "Share of tolerance", "Difference", "Relative", "Tolerance")
"""Columns of every check."""


def verification_page(certificate: ModelReport) -> str:
    """A complete HTML document about one verification.

    Args:
        certificate: To show.

    Returns:
        The page, without references to anything outside of it.
    """
    around, curves = certificate.environment, certificate.potential.curves
    where = around["gpu"] if certificate.device != "cpu" else around["processor"]
    date = str(around["time"]).replace("T", " ")
    subtitle = [certificate.model, certificate.structures, where, date]
    checks, drift = certificate.potential.checks, curves.drift
    reasons = list(dict.fromkeys(check.reason for check in checks))
    backends = certificate.backends
    return render(
        "verification",
        command="verify",
        heading=model_name(certificate.model) if certificate.model else "potential",
        summary=verdict(certificate),
        subtitle=" · ".join(str(text) for text in subtitle if text),
        notes=[_sentence(note) for note in certificate.potential.notes],
        footer=[f"Written by equipot {around['equipot']}."],
        certificate=certificate,
        around=around,
        date=date,
        packages=", ".join(f"{k} {v}" for k, v in around["packages"].items()),
        tightest=_tightest(certificate),
        drift=drift,
        largest=[MEV_PER_EV * error for error in drift.largest],
        law=VERLET_ORDER,
        checks=_checks(checks, reasons),
        reasons=[_sentence(reason) for reason in reasons],
        dimers=_dimers(curves),
        closest=MIN_SCAN_DISTANCE,
        linear=plots.LINEAR_ENERGY,
        smallest_share=SMALLEST_SHARE,
        cutoff=_cutoff(curves),
        pair=pair_label(curves.cutoff.pair),
        errors=figure("drift", plots.draw_drift, drift=drift, scaled=False),
        scaled=figure("scaled-drift", plots.draw_drift, drift=drift, scaled=True),
        backends=[(v, _backend(v)) for v in backends],
        tolerances=dict.fromkeys(c.reason for v in backends for c in v.checks),
    )


def verdict(certificate: ModelReport) -> str:
    """One sentence."""
    if certificate.passed:
        return f"All {certificate.count} checks passed."
    failed, total = len(certificate.failures), certificate.count
    return f"FAILED: {failed} of {plural(total, 'check')}."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _tightest(certificate: ModelReport) -> dict[str, Any]:
    """The check with the largest share of its tolerance, as a card."""
    of_backends = (c for v in certificate.backends for c in v.checks)
    check = max((*certificate.potential.checks, *of_backends), key=_share)
    return {
        "title": "Closest to tolerance" if check.passed else "Farthest from tolerance",
        "value": _shown_share(check),
        "unit": "of the tolerance",
        "remark": f"{check.name}: {check.quantity}",
    }


def _checks(checks: Sequence[Check], reasons: Sequence[str]) -> Table:
    rows = []
    for check in checks:
        text = Markup(
            '<span class="check">{} [{}]<span class="formula">{}</span></span>'
        ).format(
            check_label(check, checks),
            1 + reasons.index(check.reason),
            MEANING[check.name],
        )
        rows.append((text, *_numbers(check)))
    return Table("All checks", ("Check", *NUMBERS), rows)


def _numbers(check: Check) -> tuple[Cell, ...]:
    d = check.difference
    decades = math.log10(max(_share(check), SMALLEST_SHARE))
    width = min(100 * (1 - decades / math.log10(SMALLEST_SHARE)), 100.0)
    bar = fill("meter.html.jinja", percentage=width, warn=not check.passed)
    return (
        "passed" if check.passed else flagged("FAILED"),
        Markup("{}{}").format(_shown_share(check), bar),
        Markup("{} {}").format(cell(d.max_abs), typeset(check.unit)),
        d.relative,
        d.tolerance,
    )


def _share(check: Check) -> float:
    """Measured over allowed: more than 1 is a failure; infinite if none is allowed."""
    d = check.difference
    if check.passed and not d.tolerance > 0:
        return 0.0
    share = d.relative / d.tolerance if d.tolerance > 0 else math.inf
    return math.inf if math.isnan(share) else share


def _shown_share(check: Check) -> str:
    share = _share(check)
    if share == 0:
        return "none"
    if share <= 1:
        return f"{shown(100 * share)} %"
    if math.isinf(share):
        return "exceeded"
    return f"{share:.1f} ×" if share < 100 else f"{share:.0e} ×".replace("e+0", "e")


def _dimers(curves: Curves) -> list[tuple[str, str, Markup]]:
    """Titles, captions and figures of pairs with the same first element."""
    elements = dict.fromkeys(scan.pair[0] for scan in curves.dimers)
    groups = [
        own[start : start + len(SERIES)]
        for own in ([s for s in curves.dimers if s.pair[0] == z] for z in elements)
        for start in range(0, len(own), len(SERIES))
    ]
    cutoff, draw = curves.cutoff.cutoff, plots.draw_dimers
    return [
        (
            ", ".join(pair_label(scan.pair) for scan in group),
            _limits(group),
            figure(f"dimers-{n}", draw, scans=group, cutoff=cutoff),
        )
        for n, group in enumerate(groups)
    ]


def _limits(scans: Sequence[DimerScan]) -> str:
    """Where the domains of some pairs end."""
    known = [f"{pair_label(s.pair)} {s.limit:.2f} Å" for s in scans if s.limit]
    if not known:
        return "No shortest distance."
    return f"Shortest distances of the domain of validity: {', '.join(known)}."


def _cutoff(curves: Curves) -> dict[str, Markup]:
    scan, curve = curves.cutoff, curves.cutoff.curve
    panels = {
        "energy": ("energy / meV", curve.energies - curve.energies[-1]),
        "force": ("force / (meV/Å)", curve.pulls),
        "curvature": ("curvature / (meV/Å$^2$)", scan.curvatures),
    }
    return {
        name: figure(
            f"cutoff-{name}",
            plots.draw_cutoff,
            scan=scan,
            values=MEV_PER_EV * values,
            label=label,
        )
        for name, (label, values) in panels.items()
    }


def _backend(v: BackendReport) -> Table:
    """All checks of a backend against the reference."""
    is_reference = v.backend == v.reference
    role = "reference" if is_reference else f"compared with {v.reference}"
    rows = [
        (
            check.quantity,
            check.name + (f", {check.dtype}" if check.name == v.reference else ""),
            *_numbers(check),
        )
        for check in v.checks
    ]
    return Table(
        f"{v.backend}, {role}, on {v.device}, {v.seconds:.1f} s",
        ("Quantity", "Compared with", *NUMBERS),
        rows,
        text_columns=2,
    )
